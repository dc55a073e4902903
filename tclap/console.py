"""What the `tclap` command and the sweep scripts share: wrong input is one line on stderr and exit code 2."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, SettingsError
from rich.console import Console

from tclap.errors import InputError
from tclap.redact import without_passwords

VERBATIM = "verbatim"  # annotates a list of the command line whose values hold commas, quotes and brackets of their own
STDOUT = "standard output"
INTERRUPTED = 130  # what a shell reports for Ctrl-C
T = TypeVar("T", bound=BaseSettings)


class _Console(Console):
    lost: OSError | None = None  # why standard output could not be written, such as a full disk

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, but without the passwords of the URLs in a text, and going on if its disk is full."""
        try:
            super().print(*(without_passwords(o) if isinstance(o, str) else o for o in objects), **options)
        except OSError as error:
            self.lost = error
            _let_go_of_stdout()

    def on_broken_pipe(self) -> None:
        """Go on in silence: `... | head` wants no more lines, and rich would end a sweep in the middle for it."""
        _let_go_of_stdout()


# Without markup: what users name (files, classes, texts) may hold brackets and colons.
console = _Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
# A table without lines between its columns, so that a terminal of 80 characters shows a configuration on one line.
NARROW: dict[str, Any] = {"title_justify": "left", "box": None, "padding": (0, 1, 0, 0), "pad_edge": False}


def parse(settings: type[T]) -> T:
    """The command line as `settings`, whose `cli_cmd` is run if it has one.

    Raises SettingsError or ValidationError if it is wrong: unknown flags, too, are one line, and not argparse's block.
    """
    return CliApp.run(settings, cli_settings_source=_CommandLine(settings, cli_exit_on_error=False))


class _CommandLine(CliSettingsSource[BaseSettings]):
    """pydantic's reading of a command line, which splits lists at commas, but for the lists annotated VERBATIM.

    A brace begins a JSON object to pydantic; in a list of texts (`--prompts {}`) it is a text's own.
    """

    def _merge_parsed_list(self, parsed_list: list[str], field_name: str) -> str:
        argument = self._parser_map.get(field_name, {}).get(None)
        if argument is not None and VERBATIM in argument.field_info.metadata:
            return json.dumps(parsed_list)
        if argument is not None and argument.field_info.annotation == tuple[str, ...]:
            parsed_list = [_quoted(text) if text.lstrip().startswith("{") else text for text in parsed_list]
        return super()._merge_parsed_list(parsed_list, field_name)


def _quoted(text: str) -> str:
    return ",".join(json.dumps(part) for part in next(csv.reader([text.strip()], skipinitialspace=True)))


def run_or_exit(command: Callable[[], int | None]) -> NoReturn:
    """Run `command` and exit with its code; what a user can put right becomes one line and code 2.

    That is an InputError, a refused setting, and a file that the system refuses.
    """
    _open_closed_streams()
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
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = INTERRUPTED
    except OSError as error:
        # A file of the user's that is missing is an InputError where it is read; any other is a bug of ours.
        if isinstance(error, FileNotFoundError) or (error.filename is None and not _is_of_stdout(error)):
            raise
        fail(f"{error.filename or STDOUT}: {error.strerror}")
    if console.lost is not None:
        fail(f"{STDOUT}: {console.lost.strerror}; what came after that was lost")
    sys.exit(code)


def fail(message: str) -> NoReturn:
    """Print one line, without the passwords of the URLs in it, and exit with code 2."""
    print("error: " + without_passwords(" ".join(message.split())), file=sys.stderr)
    sys.exit(2)


def _open_closed_streams() -> None:
    """Give a process that was started with `>&-` somewhere to write: Python has None there, at which libraries fail."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _is_of_stdout(error: OSError) -> bool:
    """Whether it is standard output's: what is left to write there cannot be written. It is let go then."""
    try:
        sys.stdout.flush()
    except OSError:
        _let_go_of_stdout()
        return True
    return False


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
