"""A list of models scored as Ray tasks, one each: nothing is trained but the base of a model that has none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import ray
import ray.exceptions

from tclap import plugins
from tclap.config import DataSettings
from tclap.errors import InputError
from tclap.experiment import evaluate, open_workspace
from tclap.lanes import preflight
from tclap.models import best_device
from tclap.report.table5 import ScoredModel
from tclap.scored import open_on

RETRIES = 3  # of a task whose process or node was lost


@dataclass(frozen=True)
class Scoring:
    """What every task needs to know; it travels, so it is plain. Folders are absolute and seen by every node."""

    data: str
    dataset_digest: str
    cache: str
    folds: tuple[int, ...]
    train_folds: tuple[int, ...]
    base_steps: int
    asked: DataSettings  # what the questions are drawn with: the same for every model, whatever it was trained with


def open_ray(use_gpu: bool) -> None:
    """Join the Ray of RAY_ADDRESS, or start one. Raises InputError if that fails, or if `use_gpu` and it has no GPU."""
    plugins.hand_on_current_folder()
    preflight.check_ray_address(os.environ.get("RAY_ADDRESS", ""))
    preflight.check_socket_path(os.environ)
    preflight.connect_ray({})
    if use_gpu and not ray.cluster_resources().get("GPU"):
        raise InputError("--use-gpu: this Ray has no GPU")


def score_models(
    models: Mapping[str, tuple[str, str | None]], scoring: Scoring, use_gpu: bool
) -> Iterator[ScoredModel]:
    """Score models, label -> (name, weights), on the Ray that is open, in the order in which they are done.

    A model that cannot be had, or whose own code fails, comes with its `problem`.
    """
    task = ray.remote(num_cpus=1, num_gpus=int(use_gpu), max_retries=RETRIES)(score_model)
    labels = {task.remote(label, *model, scoring, use_gpu): label for label, model in models.items()}
    waiting = list(labels)
    while waiting:
        (done, *_), waiting = ray.wait(waiting)
        try:
            yield ray.get(done)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            reason = str(cause) if isinstance(cause, InputError) else f"{type(cause).__name__}: {cause}"
            yield ScoredModel(labels[done], problem=" ".join(reason.split()))


def score_model(label: str, name: str, weights: str | None, scoring: Scoring, use_gpu: bool) -> ScoredModel:
    """One task: the scores of one model. Raises InputError as `open_on` does."""
    workspace = open_workspace(Path(scoring.data), Path(scoring.cache), scoring.dataset_digest)
    model, data = open_on(
        workspace,
        name,
        scoring.folds,
        weights=weights,
        train_folds=scoring.train_folds,
        base_steps=scoring.base_steps,
    )
    # Ray hides no GPU from a task that asked for none: all of them at once would share the first one.
    model.module().to(best_device() if use_gpu else "cpu")
    scores = evaluate(workspace, data, model, scoring.folds, scoring.asked)
    return ScoredModel(label, scores, getattr(model, "untrained", False))
