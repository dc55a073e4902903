"""What every order suite is read into: sounds, each with a right caption and wrong ones that tell another order.

The readers of this package take the files as their makers publish them; nothing of a suite is copied into tclap.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tclap.errors import InputError

SHOWN = 5  # names that an error message gives before it counts the rest


@dataclass(frozen=True)
class Item:
    """One decision: which of the captions says what is heard."""

    audio: Path
    right: str
    wrong: tuple[str, ...]
    group: str  # items that count together; an item that stands alone is a group of its own
    unit: str  # items of one unit share sounds, so their errors are not independent


@dataclass(frozen=True)
class Suite:
    """The items of one suite, and what a reader of its scores should know about how they were made."""

    name: str
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()


def checked(name: str, source: Path, items: Iterable[Item], notes: Sequence[str] = ()) -> Suite:
    """The suite, if it can be scored.

    Raises InputError if there are no items, if an item's right caption is also a wrong one or empty, and naming the
    sounds that are missing.
    """
    items = tuple(items)
    if not items:
        raise InputError(f"{source} holds no {name} items" + (f": {'; '.join(notes)}" if notes else ""))
    for item in items:
        captions = (item.right, *item.wrong)
        if not item.wrong or not all(text.strip() for text in captions):
            raise InputError(f"{source}: {item.audio.name} needs a right caption and a wrong one, none of them empty")
        if len(set(captions)) < len(captions):
            raise InputError(f"{source}: {item.audio.name} has the same caption twice: {item.right!r} {item.wrong}")
    missing = [path for path in dict.fromkeys(item.audio for item in items) if not path.is_file()]
    if missing:
        few = ", ".join(path.name for path in missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise InputError(f"{len(missing)} sound(s) that {source} names are missing in {missing[0].parent}: {few}")
    return Suite(name, items, tuple(notes))


def sound(name: str, folders: Sequence[Path]) -> Path:
    """The file `name` in the first of `folders` that has it, else where it was looked for first."""
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)


def only_file(folder: Path, patterns: Sequence[str], what: str) -> Path:
    """The one file below `folder` that fits the first pattern that any file fits. Raises InputError: none, several."""
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            raise InputError(f"{folder} has several {what}: {', '.join(path.name for path in found)}; name the file")
        if found:
            return found[0]
    raise InputError(f"{folder} has no {what} ({', '.join(patterns)})")


def read_json(file: Path, what: str) -> Mapping[str, Any]:
    """A JSON object. Raises InputError if it is not there, or something else."""
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{file} cannot be read as {what}: {error}") from error
    if not isinstance(held, dict):
        raise InputError(f"{file} is not {what}: it holds a JSON {type(held).__name__}, not an object")
    return held
