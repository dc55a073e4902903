"""The order suites of the field, each read from the files that its makers publish (`tclap order`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tclap.errors import InputError
from tclap.evaluation.suites import audiotime, compa, dtu, plain, timed
from tclap.evaluation.suites.items import Suite

READERS: dict[str, Callable[[Path], Suite]] = {
    "compa": compa.read,
    "audiotime": audiotime.read,
    "dtu": dtu.read,
    "timed": timed.read,
    "plain": plain.read,
}


def read_suite(name: str, path: Path) -> Suite:
    """A suite by its name. Raises InputError: unknown, nothing at `path`, and as its reader does."""
    if name not in READERS:
        raise InputError(f"unknown suite {name!r}; known are {', '.join(READERS)}")
    if not path.exists():
        raise InputError(f"{path} not found: {name} is read from a file or folder")
    return READERS[name](path)
