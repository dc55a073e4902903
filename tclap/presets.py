"""The authors' released code as settings: what it does that the paper does not print, as far as it is no defect.

Taken: an alpha on every negative of another kind (`row_o`), its class prompts, both sounds half a window, and its
training: 20 epochs of stage A and 10 of stage B with Adam at 1e-3, times 0.95 after each epoch, without warm-up. Its
distractors are those of 4A_hard and 4B_hard, which every evaluation has.

Not taken: random crops, clips that are in training and evaluation, logits that are not normalised, wrong labels. And
batches: it has 4 pairs in stage A and 32 in stage B; a configuration has one batch size, so an epoch of stage A has
fewer steps here.
"""

from __future__ import annotations

import math
from pathlib import Path

from tclap.config import Configuration, DataSettings, OptimiserSettings
from tclap.errors import InputError

PROMPT = "this is a sound of {}"
EPOCHS_A, EPOCHS_B = 20, 10
# Flags that `released` replaces.
SETS = ("lr", "lrs", "steps_a", "steps_b", "match_steps", "row_o", "prompts", "timing")


def released(configuration: Configuration, pairs: int) -> Configuration:
    """`configuration` as the released code would train and ask it. pairs: those of classes that are trained on.

    Its batch size, model, alphas and folds stay as they are; `takes` composites of each pair make an epoch.
    """
    data = configuration.data
    epoch_steps = max(1, math.ceil(pairs * data.takes / configuration.batch_size))

    def training(epochs: int) -> OptimiserSettings:
        # AdamW without decay is Adam.
        return OptimiserSettings(
            steps=epochs * epoch_steps,
            lr=1e-3,
            weight_decay=0,
            warmup_fraction=0,
            schedule="exponential",
            epoch_steps=epoch_steps,
        )

    changes: dict[str, object] = {"data": data.model_copy(update={"prompts": (PROMPT,), "timing": "midpoint"})}
    if configuration.coefficients is not None:
        changes["coefficients"] = configuration.coefficients.model_copy(update={"row_o": "alpha"})
        changes["optimiser_b"] = training(EPOCHS_B)
    if configuration.stage_a is not None:
        changes["optimiser_a"] = training(EPOCHS_A)
    return configuration.model_copy(update=changes)


def trained_pairs(root: Path, data: DataSettings) -> int:
    """Pairs of the classes that are trained on, from the index of the dataset at `root`.

    Raises InputError if it is not there, since an epoch's length is not known without.
    """
    # PyTorch takes seconds, and every command reads flags.
    from tclap.data.layouts import read_index
    from tclap.training.base import seen_classes

    try:
        dataset = read_index(root)
    except InputError as error:
        raise InputError(f"--preset released: an epoch is as long as --data has classes; {error}") from error
    return math.comb(len(seen_classes(dataset, data)), 2)


def described(configuration: Configuration) -> str:
    """What `released` has set, in lines for people."""
    data, coefficients = configuration.data, configuration.coefficients
    lines = [
        "preset released, as the authors' code trains and asks:",
        f"  row o {coefficients.row_o if coefficients else 'n/a'}, timing {data.timing}, prompts {list(data.prompts)}",
        "  distractors that share a class with the clip: columns 4A_hard and 4B_hard",
    ]
    for letter, optimiser in (("A", configuration.optimiser_a), ("B", configuration.optimiser_b)):
        if optimiser is not None and optimiser.epoch_steps is not None:
            epochs = optimiser.steps // optimiser.epoch_steps
            lines.append(
                f"  stage {letter}: {epochs} epochs of {optimiser.epoch_steps} steps at batch "
                f"{configuration.batch_size}, Adam {optimiser.lr:g}, times 0.95 after each epoch, no warm-up"
            )
    return "\n".join(lines)
