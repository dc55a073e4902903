"""What the `tclap` command and the sweep scripts share: wrong input is one line on stderr and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError
from rich.console import Console

from tclap.errors import InputError

console = Console(soft_wrap=True, highlight=False)


def run_or_exit(command: Callable[[], int | None]) -> NoReturn:
    """Run `command` and exit with its code; an InputError or a refused setting becomes one line and code 2."""
    try:
        sys.exit(command() or 0)
    except ValidationError as error:
        fail("; ".join(_line(e) for e in error.errors(include_url=False)))
    except (InputError, SettingsError) as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Print one line and exit with code 2."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def _line(error: ErrorDetails) -> str:
    message, given = error["msg"].removeprefix("Value error, "), error["input"]
    names = [part for part in error["loc"] if isinstance(part, str)]
    if not names or (error["type"] == "value_error" and not isinstance(given, str | int | float | tuple)):
        return message  # of the whole command: the message itself names the flags
    shown = f" {given!r}" if isinstance(given, str | int | float) else ""
    return f"--{names[-1].replace('_', '-')}{shown}: {message}"
