"""The `tclap` command: everything that needs no cluster.

tclap data synth|esc50|import|check|preview
tclap models | check-model
tclap pretrain | train
tclap zste | retrieval | order
tclap best | report
tclap runs | stop | pause | resume | exclude | compare
tclap score | export

A command's module is imported when that command is called: PyTorch and SciPy take seconds, which `tclap --help` has no
use for.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from pydantic import BaseModel, Field, create_model
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSubCommand,
    CliToggleFlag,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    get_subcommand,
)

from tclap import __version__
from tclap.console import console, parse, run_or_exit
from tclap.errors import InputError

# Each command: the module and class that run it, and what `tclap --help` says of it.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "data": ("tclap.commands.data", "Data", "make, download, import, check and listen to datasets"),
    "models": ("tclap.commands.models", "Models", "list models, their parameters and where their weights are"),
    "check-model": ("tclap.commands.check_model", "CheckModel", "check a model: batches, norms, does it hear order?"),
    "pretrain": ("tclap.commands.training", "Pretrain", "train mini's base on single sounds"),
    "train": ("tclap.commands.training", "Train", "train and score one configuration, without Ray"),
    "zste": ("tclap.commands.scoring", "Zste", "score a model on zero-shot temporal evaluation"),
    "retrieval": ("tclap.commands.scoring", "Retrieval", "score a model on text-audio retrieval"),
    "order": ("tclap.commands.order", "Order", "score a model on an order suite: CompA, AudioTime, your own ..."),
    "best": ("tclap.commands.choosing", "Best", "rank a sweep, score its winner on the test folds, register it"),
    "report": ("tclap.commands.choosing", "Report", "rebuild a sweep's tables and plots from MLflow alone"),
    "runs": ("tclap.commands.steering", "Runs", "list a sweep's jobs and how they are"),
    "stop": ("tclap.commands.steering", "Stop", "end a running sweep; its own command goes on"),
    "pause": ("tclap.commands.steering", "Pause", "let a job of a running sweep, or all of them, wait"),
    "resume": ("tclap.commands.steering", "Resume", "let what was paused go on"),
    "exclude": ("tclap.commands.steering", "Exclude", "leave a configuration out of rankings and tables"),
    "compare": ("tclap.commands.comparing", "Compare", "compare two sweeps, configuration by configuration"),
    "score": ("tclap.commands.using", "Score", "print the similarities of sounds and texts"),
    "export": ("tclap.commands.using", "Export", "write a model as msclap or transformers load it"),
}


class CommandLine(BaseSettings):
    """Teach audio-language models the order of sounds, and measure it."""

    model_config = SettingsConfigDict(
        cli_prog_name="tclap",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
    )

    version: CliToggleFlag[bool] = Field(False, description="print the version and exit")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # the command line only: an environment variable DATA is not a subcommand

    def cli_cmd(self) -> None:
        if self.version:
            console.print(f"tclap {__version__}")
            return
        if get_subcommand(self, is_required=False) is None:
            raise InputError(f"a command is missing: {', '.join(COMMANDS)}; tclap --help says what each does")
        CliApp.run_subcommand(self)


class _NotImported(BaseModel):
    """Stands for a command that was not called."""


def command_line(called: str | None) -> type[CommandLine]:
    """The whole command line, in which only the command `called` is imported; the others are just listed."""
    subcommand: Any = CliSubCommand  # mypy takes no class that is known only here
    fields: dict[str, Any] = {}
    for name, (module, class_name, description) in COMMANDS.items():
        command = getattr(importlib.import_module(module), class_name) if name == called else _NotImported
        fields[name.replace("-", "_")] = (subcommand[command], Field(description=description))
    return create_model("Tclap", __base__=CommandLine, __doc__=CommandLine.__doc__, **fields)


def main() -> None:
    called = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None)

    def command() -> None:
        parse(command_line(called))

    run_or_exit(command)
