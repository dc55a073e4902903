"""Base model and frozen features over the cluster, before the first trial: chunk by chunk, where there is room.

A chunk that is done stays done: after a lost node, a kill or Ctrl-C only the missing chunks are computed.
"""

from __future__ import annotations

from pathlib import Path

import ray
import ray.exceptions
import torch
from ray.util import ActorPool
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tclap.config import Configuration
from tclap.errors import InputError
from tclap.features import (
    Extraction,
    audio_extraction,
    compute_chunk,
    finish_extraction,
    locked,
    start_extraction,
    text_features,
)
from tclap.orchestrate.trial import Sweep, workspace_of
from tclap.storage import at, stop_requested
from tclap.training import checkpoint
from tclap.training.run import base_of, prepare, shared_inputs


def prepare_shared(sweep: Sweep, configuration: Configuration, use_gpu: bool, console: Console) -> None:
    """Make the base model and every feature set that trials share, unless they are there already.

    Raises InputError where clips or weights cannot be used.
    """
    settings = configuration.model_dump_json()
    try:
        if sweep.origin is not None:
            # Chunks are put together on a disk that all see; without one, a single node does it, and publishes.
            ray.get(_prepare.options(num_gpus=int(use_gpu)).remote(sweep, settings))
            return
        base, extractions, sizes = ray.get(_start.remote(sweep, settings))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause)) from error
        raise
    remote_extractor = ray.remote(num_cpus=1, num_gpus=int(use_gpu), max_restarts=-1, max_task_retries=-1)(_Extractor)
    kind = "GPU" if use_gpu else "CPU"
    room = int(ray.cluster_resources().get(kind, 1))
    for extraction, size in zip(extractions, sizes, strict=True):
        # Two sweeps over one cache: the second waits here, and then finds the set made.
        with locked(extraction.place):
            if extraction.place.exists():
                continue
            chunks = extraction.pending()
            console.print(
                f"features: {len(extraction.composites)} windows, {size / 1e6:.0f} MB in {extraction.place}, "
                f"{len(chunks)} chunks to compute",
                markup=False,
            )
            actors = [remote_extractor.remote(base) for _ in range(min(room, len(chunks)))]
            work = ActorPool(actors).map_unordered(
                lambda actor, c: actor.compute.remote(*c), [(extraction, c) for c in chunks]
            )
            with _bar(console) as bar:
                task = bar.add_task("features", total=len(chunks))
                for _ in work:
                    bar.advance(task)
                    if stop_requested(at(sweep.folder)):
                        raise KeyboardInterrupt  # the chunks that are done stay
            for actor in actors:
                ray.kill(actor)  # they hold the CPUs that the next task needs
            ray.get(_finish.remote(extraction))


@ray.remote(num_cpus=1, max_retries=3)
def _prepare(sweep: Sweep, settings: str) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    prepare(workspace_of(sweep), Configuration.model_validate_json(settings), device)


@ray.remote(num_cpus=1, max_retries=3)
def _start(sweep: Sweep, settings: str) -> tuple[str, list[Extraction], list[int]]:
    """Base model, text features, and the audio sets laid out: (base checkpoint, extractions, sizes in bytes)."""
    workspace = workspace_of(sweep)
    configuration = Configuration.model_validate_json(settings)
    base = base_of(workspace, configuration)
    model = checkpoint.load(base)
    extractions, sizes = [], []
    for composites, captions in shared_inputs(workspace.dataset, configuration.data):
        text_features(model, captions, workspace.cache)
        extraction = audio_extraction(model, workspace.dataset, sweep.dataset_digest, composites, workspace.cache)
        if not extraction.place.exists():
            with locked(extraction.place):
                if not extraction.place.exists():
                    sizes.append(start_extraction(extraction, model, workspace.dataset))
                    extractions.append(extraction)
    return str(base), extractions, sizes


@ray.remote(num_cpus=1, max_retries=3)
def _finish(extraction: Extraction) -> None:
    if not extraction.place.exists():  # a retried task may find its own work done
        finish_extraction(extraction)


class _Extractor:
    """Holds the model of one process; computing a chunk twice does no harm."""

    def __init__(self, base: str) -> None:
        self._model = checkpoint.load(Path(base))
        self._model.module().to("cuda" if torch.cuda.is_available() else "cpu")

    def compute(self, extraction: Extraction, chunk: int) -> None:
        compute_chunk(extraction, self._model, chunk)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
