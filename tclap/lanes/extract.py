"""Base model and frozen features, made by the lanes together: each takes chunks that nobody has taken yet.

A chunk that is done stays done: after a lost lane, a kill or Ctrl-C only the missing chunks are computed. Who computes
a chunk holds its lock, which the kernel releases however the process ends.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable

import filelock
from ray.train.torch import get_device

from tclap import distributed
from tclap.cache import fetch, locked
from tclap.config import Configuration
from tclap.errors import InputError
from tclap.experiment import Stopped, Workspace, base_of, shared_inputs
from tclap.features import (
    Extraction,
    audio_extraction,
    compute_chunk,
    finish_extraction,
    start_extraction,
    text_features,
)
from tclap.models.protocol import ContrastiveModel
from tclap.training import checkpoint

LOOK_EVERY_S = 0.2


def make_shared(
    workspace: Workspace,
    configuration: Configuration,
    origin: str | None,
    should_stop: Callable[[], bool],
    tell: Callable[[str, int], None],
    note: Callable[[str], None],
) -> None:
    """Make what jobs with this base and data share, together with whoever else does the same at the same time.

    origin: of a cache on each node's own disk; then one worker makes everything and publishes it there, since chunks
    are put together on a disk that all see. tell: is given what is being made and how many chunks are done. Raises
    InputError if clips or weights cannot be used, and Stopped.
    """
    stopped = False
    if origin is None or distributed.rank() == 0:
        tell("base model", 0)
        model = checkpoint.load(base_of(workspace, configuration))
        model.module().to(get_device())
        for composites, captions in shared_inputs(workspace, configuration.data):
            text_features(model, captions, workspace.cache)
            extraction = audio_extraction(
                model, workspace.dataset, workspace.dataset_digest, composites, workspace.cache
            )
            fetch(extraction.place)  # from the origin, where another node has published it
            stopped = stopped or not _take_part(extraction, model, workspace, should_stop, tell, note)
    if distributed.any_worker(stopped):
        raise Stopped("while features were computed; the chunks that are done stay")


def _take_part(
    extraction: Extraction,
    model: ContrastiveModel,
    workspace: Workspace,
    should_stop: Callable[[], bool],
    tell: Callable[[str, int], None],
    note: Callable[[str], None],
) -> bool:
    """Compute chunks until the set is in its place; False if the sweep was asked to stop before."""
    with locked(extraction.place):
        if not extraction.place.exists():
            begun = extraction.folder.exists()
            size_bytes = start_extraction(extraction, model, workspace.dataset)
            if not begun:
                note(
                    f"features: {len(extraction.composites)} windows, {size_bytes / 1e6:.0f} MB in {extraction.place}, "
                    f"{len(extraction.pending())} chunks to compute"
                )
    while not extraction.place.exists():
        if should_stop():
            return False
        pending = extraction.pending()
        if not pending:
            with locked(extraction.place):
                finish_extraction(extraction)
        elif not any(_compute_unless_taken(extraction, model, chunk) for chunk in _from_own_place(pending)):
            time.sleep(LOOK_EVERY_S)
        tell("features", extraction.chunks - len(extraction.pending()))
    shutil.rmtree(extraction.folder, ignore_errors=True)  # a lock may have been put there while it was removed
    return True


def _from_own_place(pending: list[int]) -> list[int]:
    """The same chunks, from a place that differs between processes, so that they seldom try the same one."""
    start = os.getpid() % len(pending)
    return pending[start:] + pending[:start]


def _compute_unless_taken(extraction: Extraction, model: ContrastiveModel, chunk: int) -> bool:
    try:
        with filelock.FileLock(extraction.folder / f"lock-{chunk}", timeout=0):
            if chunk in extraction.pending():
                compute_chunk(extraction, model, chunk)
            return True
    except filelock.Timeout:
        return False  # somebody else computes it
    except FileNotFoundError:
        return True  # somebody else has put the set in its place meanwhile
    except InputError:
        # Or is removing what it was made from just now, the markers of its chunks included.
        if extraction.place.exists() or not (extraction.folder / "audio.npy").exists():
            return True
        raise
