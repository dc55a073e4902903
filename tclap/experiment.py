"""One configuration and seed, from its starting checkpoint to a trained and scored model; no Ray, no MLflow.

workspace = open_workspace(Path("data"), cache=Path("runs/cache"))
model = train(workspace, configuration, seed=0, start=start_of(workspace, configuration), report=print)
scores = evaluate(workspace, configuration.data, model, configuration.data.eval_folds)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tclap.config import Configuration, DataSettings, canonical_hash
from tclap.data.compose import Composites
from tclap.data.dataset import Dataset, check_folds, decode_problems, digest, raise_problems, read_index
from tclap.data.draws import batch_schedule, check_batch_size
from tclap.evaluation.embed import zste_scores
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import build_suite
from tclap.features import audio_features, text_features
from tclap.models.protocol import ContrastiveModel
from tclap.places import write_atomically
from tclap.training import checkpoint
from tclap.training.base import base_checkpoint, seen_classes
from tclap.training.samples import Samples, make_samples, stage_a, stage_b, training_draws
from tclap.training.stage import Report, State, run_stage

STAGE_SEEDS = {"A": 0, "B": 1}


@dataclass(frozen=True)
class Workspace:
    """A dataset, the digest of its content, and the folder that caches what is computed from it."""

    dataset: Dataset
    dataset_digest: str
    cache: Path


def open_workspace(root: Path, cache: Path, dataset_digest: str | None = None) -> Workspace:
    """Index the dataset at `root`; its content is hashed unless the digest is given. Raises InputError."""
    dataset = read_index(root)
    return Workspace(dataset, dataset_digest or digest(dataset), cache)


def check(dataset: Dataset, configuration: Configuration) -> None:
    """Raise InputError where the folds or the batch size do not fit the dataset; reads no audio."""
    data = configuration.data
    sets = {"train_folds": data.train_folds, "eval_folds": data.eval_folds, "test_folds": data.test_folds}
    check_folds(dataset, {name: folds for name, folds in sets.items() if folds})  # only test_folds may be empty
    check_batch_size(configuration.batch_size, len(seen_classes(dataset, data)))


def check_clips(workspace: Workspace, data: DataSettings) -> None:
    """Raise one InputError naming every clip of the three fold sets that cannot be used.

    A dataset that has passed is not decoded again.
    """
    folds = sorted({*data.train_folds, *data.eval_folds, *data.test_folds})
    passed = workspace.cache / "decoded" / canonical_hash([workspace.dataset_digest, folds], 16)
    if not passed.exists():
        dataset = workspace.dataset
        raise_problems(dataset.audio, decode_problems(map(dataset.path, dataset.clips_in(folds))).values())
        write_atomically(passed, "")


def training_samples(dataset: Dataset, data: DataSettings) -> Samples:
    """The composites and captions that every configuration with these data settings shares."""
    return make_samples(training_draws(dataset, data, seen_classes(dataset, data)), dataset.class_names)


def base_of(workspace: Workspace, configuration: Configuration) -> Path:
    """Checkpoint of the base model, trained first where it does not exist yet."""
    return base_checkpoint(
        workspace.dataset, workspace.dataset_digest, configuration.data, configuration.model, workspace.cache
    )


def shared_inputs(dataset: Dataset, data: DataSettings) -> list[tuple[Composites, list[str]]]:
    """The composites and captions that trials with these data settings read: for training, and for evaluation."""
    samples = training_samples(dataset, data)
    suite = build_suite(dataset, data.eval_folds, data)
    return [(samples.composites, _captions(samples)), (suite.composites, list(suite.captions))]


def prepare(workspace: Workspace, configuration: Configuration, device: torch.device | str = "cpu") -> None:
    """Compute, in this process, everything that trials share and that does not exist yet: base model and features."""
    model = checkpoint.load(base_of(workspace, configuration))
    model.module().to(device)
    for composites, captions in shared_inputs(workspace.dataset, configuration.data):
        audio_features(model, workspace.dataset, workspace.dataset_digest, composites, workspace.cache)
        text_features(model, captions, workspace.cache)


def train(
    workspace: Workspace,
    configuration: Configuration,
    seed: int,
    start: Path,
    report: Report,
    device: torch.device | str = "cpu",
    resume: State | None = None,
    checkpoint_every: int | None = None,
    on_checkpoint: Callable[[State], None] | None = None,
    chunk: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ContrastiveModel:
    """Train the last stage of `configuration` from the checkpoint `start`: the base, or stage A's for "AB"."""
    letter = configuration.stages[-1]
    model = checkpoint.load(start)
    model.module().to(device)
    samples = training_samples(workspace.dataset, configuration.data)
    audio = audio_features(model, workspace.dataset, workspace.dataset_digest, samples.composites, workspace.cache)
    text = text_features(model, _captions(samples), workspace.cache)
    optimiser = configuration.optimiser_a if letter == "A" else configuration.optimiser_b
    assert optimiser is not None, "validated by Configuration"
    pairs, takes = samples.captions_a.shape[:2]
    schedule_seed = int(np.random.SeedSequence([seed, STAGE_SEEDS[letter]]).generate_state(1)[0])
    schedule = batch_schedule(pairs, takes, configuration.batch_size, optimiser.steps, schedule_seed)
    if letter == "A":
        assert configuration.stage_a is not None, "validated by Configuration"
        stage = stage_a(samples, schedule, configuration.stage_a)
    else:
        assert configuration.coefficients is not None, "validated by Configuration"
        stage = stage_b(samples, schedule, configuration.coefficients)
    run_stage(
        model,
        stage,
        audio,
        text,
        optimiser,
        seed=schedule_seed,
        report=report,
        resume=resume,
        checkpoint_every=checkpoint_every,
        on_checkpoint=on_checkpoint,
        chunk=chunk,
        should_stop=should_stop,
    )
    return model


def evaluate(
    workspace: Workspace, data: DataSettings, model: ContrastiveModel, folds: Sequence[int]
) -> dict[str, Score]:
    """ZSTE scores of `model` on `folds`, with the classes that `data` holds out of training reported apart."""
    seen = seen_classes(workspace.dataset, data)
    unseen = np.setdiff1d(np.arange(len(workspace.dataset.class_names)), seen)
    return zste_scores(model, workspace.dataset, workspace.dataset_digest, folds, data, workspace.cache, unseen)


def provenance(workspace: Workspace, configuration: Configuration, seed: int) -> dict[str, object]:
    """What a checkpoint says of its own making."""
    return {
        "configuration": configuration.model_dump(mode="json"),
        "seed": seed,
        "dataset_digest": workspace.dataset_digest,
    }


def _captions(samples: Samples) -> list[str]:
    return sorted({*samples.captions_a.ravel().tolist(), *samples.captions_b.ravel().tolist()})
