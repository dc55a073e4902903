"""One configuration and seed, from its starting checkpoint to a trained and scored model; no Ray, no MLflow.

    workspace = open_workspace(Path("data"), cache=Path("runs/cache"))
    model = checkpoint.load(base_of(workspace, configuration))
    train(workspace, configuration, model, seed=0, report=print)
    scores = evaluate(workspace, configuration.data, model, configuration.data.eval_folds)

An AB configuration starts from the checkpoint of its parent, `configuration.parent`, which is trained the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from cachetools import LRUCache

from tclap import distributed
from tclap.config import Configuration, DataSettings, canonical_hash
from tclap.data.audio import decode_problems, raise_problems
from tclap.data.compose import Composites
from tclap.data.dataset import Dataset, check_folds, digest
from tclap.data.draws import batch_schedule, check_batch_size
from tclap.data.layouts import read_index
from tclap.evaluation.details import Details, details_of
from tclap.evaluation.embed import embed_suite
from tclap.evaluation.items import Suite
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import build_suite, scores_of, suite_credits
from tclap.features import TextFeatures, audio_features, on_device, text_features
from tclap.models.protocol import ContrastiveModel
from tclap.places import write_atomically
from tclap.training import checkpoint
from tclap.training.base import base_checkpoint, seen_classes
from tclap.training.samples import Samples, make_samples, stage_a, stage_b, training_draws
from tclap.training.stage import Report, StageRun, State

STAGE_SEEDS = {"A": 0, "B": 1}
KEPT = 12  # samples, suites and feature sets that a workspace keeps in memory
T = TypeVar("T")


class Stopped(Exception):
    """Training was asked to stop; its state was kept first."""


@dataclass(frozen=True)
class Workspace:
    """A dataset, the digest of its content, and the folder that caches what is computed from it.

    say: told in a line where features lie on a GPU. kept: what the next configuration with the same data and base model
    needs again, least recently used first out.
    """

    dataset: Dataset
    dataset_digest: str
    cache: Path
    say: Callable[[str], None] = field(default=lambda text: None, compare=False, repr=False)
    kept: LRUCache[Hashable, Any] = field(default_factory=lambda: LRUCache(KEPT), compare=False, repr=False)

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returned for this key, if that is still in memory; else what it returns now."""
        if key not in self.kept:
            self.kept[key] = make()
        found: T = self.kept[key]
        return found


def open_workspace(
    root: Path,
    cache: Path,
    dataset_digest: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Workspace:
    """Index the dataset at `root`; its content is hashed unless the digest is given. Raises InputError."""
    dataset = read_index(root)
    return Workspace(dataset, dataset_digest or digest(dataset), cache, say)


def check(dataset: Dataset, configuration: Configuration) -> None:
    """Raise InputError if the folds or the batch size do not fit the dataset; reads no audio."""
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


def training_samples(workspace: Workspace, data: DataSettings) -> Samples:
    """The composites and captions that every configuration with these data settings shares."""

    def make() -> Samples:
        dataset = workspace.dataset
        classes = seen_classes(dataset, data)
        return make_samples(training_draws(dataset, data, classes), dataset.class_names)

    return workspace.keep(("samples", data), make)


def evaluation_suite(workspace: Workspace, data: DataSettings, folds: Sequence[int]) -> Suite:
    """The questions of ZSTE over the clips of `folds`."""
    key = ("suite", data, tuple(folds))
    return workspace.keep(key, lambda: build_suite(workspace.dataset, folds, data))


def base_of(workspace: Workspace, configuration: Configuration) -> Path:
    """Checkpoint of the base model, trained first if it does not exist yet."""
    return base_checkpoint(
        workspace.dataset, workspace.dataset_digest, configuration.data, configuration.model, workspace.cache
    )


def shared_inputs(workspace: Workspace, data: DataSettings) -> list[tuple[Composites, list[str]]]:
    """The composites and captions that trials with these data settings read: for training, and for evaluation."""
    samples, suite = training_samples(workspace, data), evaluation_suite(workspace, data, data.eval_folds)
    return [(samples.composites, samples.captions), (suite.composites, list(suite.captions))]


def prepare(workspace: Workspace, configuration: Configuration, device: torch.device | str = "cpu") -> None:
    """Compute, in this process, everything that trials share and that does not exist yet: base model and features."""
    model = checkpoint.load(base_of(workspace, configuration))
    model.module().to(device)
    for composites, captions in shared_inputs(workspace, configuration.data):
        _features(workspace, model, composites, captions)


def begin(
    workspace: Workspace, configuration: Configuration, model: ContrastiveModel, seed: int, chunk: int | None = None
) -> StageRun:
    """The last stage of `configuration`, before its first step; `model` stands at the checkpoint that it starts from.

    chunk: encode so many windows or texts at once, for batches that do not fit the memory.
    """
    letter, optimiser = configuration.stages[-1], configuration.optimiser
    samples = training_samples(workspace, configuration.data)
    audio, text = _features(workspace, model, samples.composites, samples.captions)
    pairs, takes = samples.captions_a.shape[:2]
    schedule_seed = int(np.random.SeedSequence([seed, STAGE_SEEDS[letter]]).generate_state(1)[0])
    schedule = batch_schedule(pairs, takes, configuration.batch_size, optimiser.steps, schedule_seed)
    if letter == "A":
        assert configuration.stage_a is not None, "validated by Configuration"
        stage = stage_a(samples, schedule, configuration.stage_a)
    else:
        assert configuration.coefficients is not None, "validated by Configuration"
        stage = stage_b(samples, schedule, configuration.coefficients)
    return StageRun(model, stage, audio, text, optimiser, seed=schedule_seed, chunk=chunk)


def train(
    workspace: Workspace,
    configuration: Configuration,
    model: ContrastiveModel,
    *,
    seed: int,
    report: Report = lambda step, metrics: None,
    resume: State | None = None,
    keep: Callable[[State], None] | None = None,
    keep_every: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    look: Callable[[int], bool] = lambda steps_done: False,
    look_at: Callable[[int], bool] = lambda steps_done: False,
    chunk: int | None = None,
) -> bool:
    """Train `model` in place: the last stage of `configuration`, from the checkpoint at which the model stands.

    The other arguments, and what is returned, are those of `begin` and `carry_out`.
    """
    return carry_out(
        begin(workspace, configuration, model, seed, chunk),
        report=report,
        resume=resume,
        keep=keep,
        keep_every=keep_every,
        should_stop=should_stop,
        look=look,
        look_at=look_at,
    )


def carry_out(
    run: StageRun,
    *,
    report: Report = lambda step, metrics: None,
    resume: State | None = None,
    keep: Callable[[State], None] | None = None,
    keep_every: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    look: Callable[[int], bool] = lambda steps_done: False,
    look_at: Callable[[int], bool] = lambda steps_done: False,
) -> bool:
    """Take the steps of `run` that are left; returns whether all of them were taken.

    report: called with (step, metrics) after each step. keep: called on every worker, every `keep_every` steps and
    after the last, with a state that `resume` takes to continue as if never interrupted. should_stop: asked on every
    worker after each step; if one says yes, all keep their state and raise Stopped. look: called on every worker with
    the number of steps done wherever `look_at` says so, but not after the last; it may score the model, and ends the
    stage there, its state kept, if it returns True, which it does on all workers or on none. A stage that is resumed
    where `look_at` says so is looked at first: it may have been killed before anybody acted on the answer.
    Raises FloatingPointError, naming stage and step, if the loss is not finite.
    """

    def looked() -> bool:
        return not run.finished and look_at(run.steps_done) and look(run.steps_done)

    enough = False
    if resume is not None:
        run.load(resume)
        enough = looked()
    while not run.finished and not enough:
        metrics = run.step()
        report(run.steps_done - 1, metrics)
        enough = looked()  # before the state is kept, which so knows of it
        stop = distributed.any_worker(should_stop())
        if keep is not None and (enough or stop or is_due(run.steps_done, keep_every, run.steps)):
            keep(run.state())
        if stop and not enough:
            raise Stopped(f"after step {run.steps_done} of {run.steps} of stage {run.stage.name}")
    run.model.module().eval()
    return run.finished


def is_due(steps_done: int, every: int | None, steps: int) -> bool:
    """Whether what happens every so many steps, and after the last of `steps`, happens now; None is never."""
    return every is not None and (steps_done % every == 0 or steps_done == steps)


def evaluate(
    workspace: Workspace,
    data: DataSettings,
    model: ContrastiveModel,
    folds: Sequence[int],
    asked: DataSettings | None = None,
) -> dict[str, Score]:
    """ZSTE scores of `model` on `folds`, with the classes that `data` holds out of training reported apart.

    asked: settings by which the questions are drawn, where they are not those of training, `data`.
    """
    return evaluate_closely(workspace, data, model, folds, asked)[0]


def evaluate_closely(
    workspace: Workspace,
    data: DataSettings,
    model: ContrastiveModel,
    folds: Sequence[int],
    asked: DataSettings | None = None,
) -> tuple[dict[str, Score], Details]:
    """What `evaluate` returns, and what lies behind it: order by pairs of classes, and the worst mistakes."""
    suite, names = evaluation_suite(workspace, asked or data, folds), workspace.dataset.class_names
    features, texts = _features(workspace, model, suite.composites, suite.captions)
    audio, text = embed_suite(model, suite, features, texts)
    credits = suite_credits(suite, audio, text)
    unseen = np.setdiff1d(np.arange(len(names)), seen_classes(workspace.dataset, data))
    details = details_of(
        suite, names, credits["order"], audio, text, window_s=model.window_s, sample_rate_hz=model.sample_rate_hz
    )
    return scores_of(suite, credits, unseen), details


def provenance(workspace: Workspace, configuration: Configuration, seed: int) -> dict[str, object]:
    """What a checkpoint says of its own making."""
    return {
        "configuration": configuration.model_dump(mode="json"),
        "seed": seed,
        "dataset_digest": workspace.dataset_digest,
    }


def _features(
    workspace: Workspace, model: ContrastiveModel, composites: Composites, captions: Sequence[str]
) -> tuple[np.ndarray | torch.Tensor, TextFeatures]:
    """Frozen features of windows and texts, on the model's device if they fit: from memory, the cache, or made now."""
    device = model.logit_scale.device

    def make() -> tuple[np.ndarray | torch.Tensor, TextFeatures]:
        audio = audio_features(model, workspace.dataset, workspace.dataset_digest, composites, workspace.cache)
        return on_device(audio, device, workspace.say), text_features(model, captions, workspace.cache).to(device)

    key = ("features", model.fingerprint(), str(device), composites.rows().tobytes(), tuple(captions))
    return workspace.keep(key, make)
