"""The state of a seed in the middle of its stage: it lies in the seed's own folder, so any lane takes it up."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path

import torch

from tclap.places import STATE, Place
from tclap.training.stage import State


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
    """The state that was kept last, on the CPU; None if the seed starts from its first step."""
    if not (folder / STATE).exists():
        return None
    with (folder / STATE).open("rb") as file:
        state: State = torch.load(io.BytesIO(file.read()), weights_only=True, map_location="cpu")
    return state


def drop_state(folder: Place) -> None:
    """Forget the state, once the result is written."""
    (folder / STATE).unlink(missing_ok=True)
