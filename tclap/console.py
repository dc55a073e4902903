"""What the `tclap` command and the sweep scripts share: wrong input is one line on stderr and exit code 2."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, SettingsError
from rich.console import Console

from tclap.errors import InputError
from tclap.redact import shown

VERBATIM = "verbatim"  # annotates a list of the command line whose values hold commas, quotes and brackets of their own
T = TypeVar("T", bound=BaseSettings)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on in silence: `... | head` wants no more lines, and rich would end a sweep in the middle for it."""
        _let_go_of_stdout()


# Without markup: what users name (files, classes, texts) may hold brackets and colons.
console = _Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


def parse(settings: type[T]) -> T:
    """The command line as `settings`, whose `cli_cmd` is run if it has one.

    Raises SettingsError or ValidationError if it is wrong: unknown flags, too, are one line, and not argparse's block.
    """
    return CliApp.run(settings, cli_settings_source=_CommandLine(settings, cli_exit_on_error=False))


class _CommandLine(CliSettingsSource[BaseSettings]):
    """pydantic's reading of a command line, which splits lists at commas, but for the lists annotated VERBATIM."""

    def _merge_parsed_list(self, parsed_list: list[str], field_name: str) -> str:
        argument = self._parser_map.get(field_name, {}).get(None)
        if argument is not None and VERBATIM in argument.field_info.metadata:
            return json.dumps(parsed_list)
        return super()._merge_parsed_list(parsed_list, field_name)


def run_or_exit(command: Callable[[], int | None]) -> NoReturn:
    """Run `command` and exit with its code; an InputError or a refused setting becomes one line and code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a locale without α shows a question mark
    try:
        code = command() or 0
        sys.stdout.flush()
    except ValidationError as error:
        fail("; ".join(_line(e) for e in error.errors(include_url=False)))
    except (InputError, SettingsError) as error:
        fail(str(error).removeprefix("error parsing CLI: ").removeprefix("Error: "))
    except BrokenPipeError:
        _let_go_of_stdout()
        code = 0
    sys.exit(code)


def fail(message: str) -> NoReturn:
    """Print one line, without the passwords of the URLs in it, and exit with code 2."""
    print("error: " + shown(" ".join(message.split())), file=sys.stderr)
    sys.exit(2)


def _let_go_of_stdout() -> None:
    """Nobody reads it any more: send the rest nowhere, what is buffered included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _line(error: ErrorDetails) -> str:
    message, given = error["msg"].removeprefix("Value error, "), error["input"]
    names = [part for part in error["loc"] if isinstance(part, str)]
    if not names or (error["type"] == "value_error" and not isinstance(given, str | int | float | tuple)):
        return message  # of the whole command: the message itself names the flags
    value = f" {given!r}" if isinstance(given, str | int | float) else ""
    return f"--{names[-1].replace('_', '-')}{value}: {message}"
