"""What people ask of a sweep from outside: jobs to pause, and jobs to leave out. Small files in the sweep's folder.

Stopping is a file, too: `places.stop_file`. A driver and its workers look at these files; the commands write them.
"""

from __future__ import annotations

import json
from typing import Any

from tclap.errors import InputError
from tclap.places import Place, write_atomically

PAUSED, EXCLUDED = "paused.json", "excluded.json"
EVERYTHING = "*"


def paused(sweep: Place) -> frozenset[str]:
    """The hashes of the jobs that are to wait; `EVERYTHING` among them stands for all."""
    return frozenset(_read(sweep / PAUSED, list))


def is_paused(sweep: Place, job: str) -> bool:
    """Whether the job of this hash is to wait."""
    waiting = paused(sweep)
    return job in waiting or EVERYTHING in waiting


def pause(sweep: Place, job: str | None) -> None:
    """Let a job wait, or all of them: what runs keeps its state and ends."""
    write_atomically(sweep / PAUSED, json.dumps(sorted({*paused(sweep), job or EVERYTHING})))


def resume(sweep: Place, job: str | None = None) -> bool:
    """Let a job go on, or all of them; returns whether any was paused."""
    before = paused(sweep)
    after = before - {job} if job else frozenset()
    if after:
        write_atomically(sweep / PAUSED, json.dumps(sorted(after)))
    else:
        (sweep / PAUSED).unlink(missing_ok=True)
    return before != after


def excluded(sweep: Place) -> dict[str, str]:
    """Hash -> why, of every configuration that is left out of rankings and tables, and not run."""
    return {str(name): str(why) for name, why in _read(sweep / EXCLUDED, dict).items()}


def exclude(sweep: Place, job: str, why: str | None) -> None:
    """Leave a configuration out; with `why` None, take it in again."""
    reasons = {name: reason for name, reason in excluded(sweep).items() if name != job}
    write_atomically(sweep / EXCLUDED, json.dumps(reasons if why is None else {**reasons, job: why}, indent=1))


def _read(file: Place, kind: type[Any]) -> Any:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # the latter is said where the storage is checked
        return kind()
    except ValueError as error:
        raise InputError(f"{file} cannot be read ({error}): delete it") from error
    if not isinstance(found, kind):
        raise InputError(f"{file} holds no {kind.__name__}: delete it")
    return found
