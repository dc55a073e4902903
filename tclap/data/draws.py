"""Which clips make each pair, and which pairs make each batch: seeded, vectorised, known before training.

Shapes: P unordered class pairs, K takes, S steps, N pairs in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tclap.config import Timing
from tclap.data.compose import GRID, MIDPOINT, WHOLE
from tclap.data.dataset import Dataset
from tclap.errors import InputError

# Drawn timing: each sound lasts this share of the window, in thousandths (design 3), and half of the draws have no
# silence between the two sounds.
SHORTEST, LONGEST = 150, 600
TOUCHING = 0.5
# Random streams, so that nothing drawn for one purpose tells anything about what is drawn for another.
Purpose = Literal["training", "evaluation", "order", "base", "alone"]
CLIP_STREAMS: dict[Purpose, int] = {"training": 2, "evaluation": 5, "order": 7}
TIMING_STREAMS: dict[Purpose, int] = {"training": 4, "evaluation": 6, "order": 8, "base": 9, "alone": 11}


@dataclass(frozen=True)
class PairDraws:
    """For each class pair and take, the clip of each class, and which of the two comes first in f."""

    classes: np.ndarray  # [P, K, 2] class of the first and of the second sound in f
    clips: np.ndarray  # [P, K, 2] the clip of each
    single_side: np.ndarray  # [P, K] which of the two is stage A's single
    says_after: np.ndarray  # [P, K] whether the captions say "after" instead of "before"
    timing: np.ndarray  # [P, K, 4] spans of the two sounds in f; r has the same with its sounds swapped
    alone: np.ndarray  # [P, K, 4] spans of the windows that hold one sound, or both at once


def held_out_classes(n_classes: int, holdout: int, seed: int) -> np.ndarray:
    """The `holdout` class ids kept out of training, sorted. Raises InputError unless two classes remain."""
    if holdout > n_classes - 2:
        raise InputError(f"holdout_classes {holdout} leaves fewer than two of {n_classes} classes to train on")
    return np.sort(np.random.default_rng([seed, 1]).permutation(n_classes)[:holdout])


def draw_pairs(
    dataset: Dataset,
    folds: Sequence[int],
    classes: Sequence[int] | np.ndarray,
    takes: int,
    seed: int,
    after_fraction: float = 0.0,
    timing: Timing = "drawn",
    purpose: Purpose = "training",
) -> PairDraws:
    """Draw `takes` clip pairs for each unordered pair of `classes` from the clips of `folds`.

    The clips are the same whatever the `timing`, and draws for another `purpose` are independent of these.
    """
    rng = np.random.default_rng([seed, CLIP_STREAMS[purpose]])
    clips = dataset.clips_in(folds)
    of_class = [clips[dataset.class_ids[clips] == c] for c in range(len(dataset.class_names))]
    pairs = np.array([(i, j) for n, i in enumerate(classes) for j in classes[n + 1 :]])  # [P, 2]
    sizes = np.array([len(own) for own in of_class])[pairs]  # [P, 2]
    pick = np.floor(rng.random((len(pairs), takes, 2)) * sizes[:, None, :]).astype(np.int64)  # [P, K, 2]
    chosen = np.stack(
        [[of_class[c][pick[p, :, side]] for side, c in enumerate(pair)] for p, pair in enumerate(pairs)]
    ).transpose(0, 2, 1)  # [P, K, 2]
    flip = rng.random((len(pairs), takes)) < 0.5
    order = np.stack([flip, ~flip], axis=-1).astype(np.int64)  # [P, K, 2] indices into a pair
    joined, alone = draw_timings((len(pairs), takes), seed, timing, purpose)
    return PairDraws(
        timing=joined,
        alone=alone,
        classes=np.take_along_axis(np.repeat(pairs[:, None, :], takes, axis=1), order, axis=2),
        clips=np.take_along_axis(chosen, order, axis=2),
        single_side=rng.integers(0, 2, (len(pairs), takes)),
        says_after=rng.random((len(pairs), takes)) < after_fraction,
    )


def draw_timings(shape: tuple[int, ...], seed: int, timing: Timing, purpose: Purpose) -> tuple[np.ndarray, np.ndarray]:
    """Timings [*shape, 4] of joins, and of singles and overlays (see `compose`).

    "drawn": two lengths, uniform among those that fit, and silence before, between and after them. Singles and overlays
    sound in the same two spans, so that silence tells nothing about the kind: design 3 asks for one span "of such a
    length", but then the share of silence alone would tell them from joins. "midpoint": the paper's halves.
    """
    if timing == "midpoint":
        return np.broadcast_to(MIDPOINT, (*shape, 4)), np.broadcast_to(WHOLE, (*shape, 4))
    rng = np.random.default_rng([seed, TIMING_STREAMS[purpose]])
    n = int(np.prod(shape))
    lengths = rng.integers(SHORTEST, LONGEST + 1, (n, 2))
    while (over := lengths.sum(axis=1) > GRID).any():
        lengths[over] = rng.integers(SHORTEST, LONGEST + 1, (int(over.sum()), 2))
    rest = GRID - lengths.sum(axis=1)
    cuts = rng.integers(0, rest[:, None] + 1, (n, 2))
    touching = rng.random(n) < TOUCHING
    cuts[touching, 1] = cuts[touching, 0]  # all silence lies before and after both sounds
    before, between = cuts.min(axis=1), np.ptp(cuts, axis=1)
    spans = np.stack([before, lengths[:, 0], before + lengths[:, 0] + between, lengths[:, 1]], axis=1)
    spans = spans.reshape(*shape, 4)
    return spans, spans


def pair_bound(n_classes: int) -> int:
    """C(C-1)/2: how many pairs a batch can hold without the same two classes twice."""
    return n_classes * (n_classes - 1) // 2


def check_batch_size(batch_size: int, n_classes: int) -> None:
    """Raise InputError where a batch of `batch_size` pairs would have to hold twins."""
    if batch_size > pair_bound(n_classes):
        raise InputError(
            f"batch size {batch_size} is over the bound of {pair_bound(n_classes)}: "
            f"{n_classes} classes have that many pairs, and a batch never holds the same two classes twice"
        )


def batch_schedule(n_pairs: int, takes: int, batch_size: int, steps: int, seed: int) -> np.ndarray:
    """[S, N, 2] (pair, take) of every batch. No batch holds a pair twice.

    Pairs come in rounds: each round is a new permutation of all pairs, each pair with the next of its own
    permutation of takes. A batch that straddles two rounds skips, in the new one, the pairs it already holds;
    they come first in the batch after it. So every pair is used equally often, to within one.
    """
    if batch_size > n_pairs:
        raise InputError(f"batch size {batch_size} is over the bound of {n_pairs} pairs")
    rng = np.random.default_rng([seed, 3])
    take_order = np.argsort(rng.random((n_pairs, takes)), axis=1)  # [P, K]
    used = np.zeros(n_pairs, np.int64)
    batches = np.empty((steps, batch_size, 2), np.int64)
    queue = np.empty(0, np.int64)
    for step in range(steps):
        if len(queue) >= batch_size:
            chosen, queue = queue[:batch_size], queue[batch_size:]
        else:
            fresh = rng.permutation(n_pairs)
            free = fresh[~np.isin(fresh, queue)]
            taken = free[: batch_size - len(queue)]
            chosen, queue = np.concatenate([queue, taken]), fresh[~np.isin(fresh, taken)]
            queue = np.concatenate([queue[np.isin(queue, chosen)], queue[~np.isin(queue, chosen)]])
        batches[step, :, 0] = chosen
        batches[step, :, 1] = take_order[chosen, used[chosen] % takes]
        used[chosen] += 1
    return batches
