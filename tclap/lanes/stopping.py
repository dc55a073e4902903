"""Ctrl-C, SIGTERM and `ray job stop`: the sweep's jobs keep their state and end, and so does the script."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tclap.console import console
from tclap.places import Place, stop_file
from tclap.redact import without_passwords
from tclap.sweep.steering import resume


@contextmanager
def stopping_cleanly(folder: Place) -> Iterator[None]:
    """Ctrl-C (or SIGTERM) asks the sweep's jobs to keep their state and end.

    A second Ctrl-C leaves the block at once, and is not raised: the caller ends the sweep as after the first. A second
    SIGTERM ends this process.
    """
    stop_file(folder).unlink(missing_ok=True)
    resume(folder)  # a start goes on with everything
    before: dict[int, Any] = {}

    def ask_to_stop(number: int, frame: object) -> None:
        _restore(before)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what is in its background without one
        stop_file(folder).touch()
        console.print("stopping: what runs is checkpointed first (again to stop at once)")

    before.update({number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)})
    try:
        yield
    except KeyboardInterrupt:
        stop_file(folder).touch()
    finally:
        _restore(before)


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def say_how_to_go_on() -> None:
    console.print("stopped; the same command goes on from here:")
    console.print(this_command())


def this_command() -> str:
    """What to type to go on, without passwords: it is printed, and kept where others read it."""
    return without_passwords(shlex.join(["python", *sys.argv]))
