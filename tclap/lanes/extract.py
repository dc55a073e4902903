"""Base model and frozen features over the cluster, before the first trial: chunk by chunk, where there is room.

A chunk that is done stays done: after a lost node, a kill or Ctrl-C only the missing chunks are computed. Ray's own
queue of tasks shares them out, and tries again what was lost, wherever there is room by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ray
import ray.exceptions
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tclap.cache import locked
from tclap.config import Configuration
from tclap.errors import InputError
from tclap.experiment import base_of, prepare, shared_inputs
from tclap.features import (
    Extraction,
    audio_extraction,
    compute_chunk,
    finish_extraction,
    start_extraction,
    text_features,
)
from tclap.lanes.worker import Sweep, workspace_of
from tclap.places import at, stop_requested
from tclap.training import checkpoint

RETRIES = 20  # of a task whose process or node was lost
PARTS_A_PROCESS = 2  # each loads the model once; more than one, so that a fast node takes over some of a slow one's
LOOK_EVERY_S = 0.5


def prepare_shared(sweep: Sweep, configuration: Configuration, use_gpu: bool, console: Console) -> None:
    """Make the base model and every feature set that trials share, unless they are there already.

    Raises InputError where clips or weights cannot be used.
    """
    settings = configuration.model_dump_json()
    # With its GPUs named here, and not in .options(), a task's process ends with it and does not stay on the GPU.
    on_device = ray.remote(num_cpus=1, num_gpus=int(use_gpu), max_retries=RETRIES)
    try:
        if sweep.origin is not None:
            # Chunks are put together on a disk that all see; without one, a single node does it, and publishes.
            ray.get(on_device(_prepare).remote(sweep, settings))
            return
        base, extractions, sizes = ray.get(_start.remote(sweep, settings))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause)) from error
        raise
    compute = on_device(_compute)
    kind = "GPU" if use_gpu else "CPU"
    parts = PARTS_A_PROCESS * max(1, int(ray.cluster_resources().get(kind, 0)))  # 0 where nodes come when asked for
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
            shares = [share for share in (chunks[i::parts] for i in range(parts)) if share]
            waiting = [compute.remote(base, extraction, share) for share in shares]
            with _bar(console) as bar:
                task = bar.add_task("features", total=len(chunks))
                while waiting:
                    done, waiting = ray.wait(waiting, timeout=LOOK_EVERY_S)
                    ray.get(done)  # raises what a task raised
                    bar.update(task, completed=len(chunks) - len(extraction.pending()))
                    if stop_requested(at(sweep.folder)):
                        for left in waiting:
                            ray.cancel(left, force=True)
                        raise KeyboardInterrupt  # the chunks that are done stay
            ray.get(_finish.remote(extraction))


def _prepare(sweep: Sweep, settings: str) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    prepare(workspace_of(sweep), Configuration.model_validate_json(settings), device)


@ray.remote(num_cpus=1, max_retries=RETRIES)
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


def _compute(base: str, extraction: Extraction, chunks: Sequence[int]) -> None:
    """Compute those of `chunks` that are missing: a task that is tried again does the rest."""
    model = checkpoint.load(Path(base))
    model.module().to("cuda" if torch.cuda.is_available() else "cpu")
    for chunk in sorted(set(chunks) & set(extraction.pending())):
        compute_chunk(extraction, model, chunk)


@ray.remote(num_cpus=1, max_retries=RETRIES)
def _finish(extraction: Extraction) -> None:
    finish_extraction(extraction)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
