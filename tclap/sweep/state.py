"""The state of a seed in the middle of its stage: it lies in the seed's own folder, so any lane takes it up."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path

import torch

from tclap.models.weights import NOT_TORCHS
from tclap.places import STATE, Place
from tclap.training.stage import State


class DamagedState(Exception):
    """A state from which nothing goes on; the seed starts anew, and its numbers are the same."""


def write_state(folder: Place, state: State) -> None:
    """Keep the state in `folder`, in place of an older one, so that a kill never leaves half of it."""
    if not isinstance(folder, Path):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        (folder / STATE).write_bytes(buffer.getvalue())  # one PUT
        return
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".{STATE}-{uuid.uuid4().hex}"
    torch.save(state, scratch)
    os.replace(scratch, folder / STATE)


def read_state(folder: Place) -> State | None:
    """The state that was kept last, on the CPU; None if the seed starts from its first step.

    Raises DamagedState if the file is none that `write_state` wrote: a power cut may leave zeros.
    """
    if not (folder / STATE).exists():
        return None
    raw = (folder / STATE).read_bytes()
    try:
        state: State = torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu")
    except NOT_TORCHS as error:
        raise DamagedState(f"{folder / STATE} is damaged") from error
    if not isinstance(state, dict) or not {"step", "model", "optimiser"} <= state.keys():
        raise DamagedState(f"{folder / STATE} is no state of a stage")
    return state


def drop_state(folder: Place) -> None:
    """Forget the state, once the result is written."""
    (folder / STATE).unlink(missing_ok=True)
