"""The `tclap` command: everything that needs no cluster.

tclap data synth|esc50|check|preview
tclap models | check-model
tclap pretrain | train
tclap zste | retrieval
tclap best | report
tclap score | export
"""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, CliSubCommand, PydanticBaseSettingsSource, SettingsConfigDict

from tclap.commands.check_model import CheckModel
from tclap.commands.choosing import Best, Report
from tclap.commands.data import Data
from tclap.commands.models import Models
from tclap.commands.scoring import Retrieval, Zste
from tclap.commands.training import Pretrain, Train
from tclap.commands.using import Export, Score
from tclap.console import parse, run_or_exit


class Tclap(BaseSettings):
    """Teach audio-language models the order of sounds, and measure it."""

    model_config = SettingsConfigDict(
        cli_prog_name="tclap",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
    )

    data: CliSubCommand[Data] = Field(description="make, download, check and listen to datasets")
    models: CliSubCommand[Models] = Field(description="list models, their parameters and where their weights are")
    check_model: CliSubCommand[CheckModel] = Field(description="check a model: batches, norms, does it hear order?")
    pretrain: CliSubCommand[Pretrain] = Field(description="train mini's base on single sounds")
    train: CliSubCommand[Train] = Field(description="train and score one configuration, without Ray")
    zste: CliSubCommand[Zste] = Field(description="score a model on zero-shot temporal evaluation")
    retrieval: CliSubCommand[Retrieval] = Field(description="score a model on text-audio retrieval")
    best: CliSubCommand[Best] = Field(description="rank a sweep, score its winner on the test folds, register it")
    report: CliSubCommand[Report] = Field(description="rebuild a sweep's tables and plots from MLflow alone")
    score: CliSubCommand[Score] = Field(description="print the similarities of sounds and texts")
    export: CliSubCommand[Export] = Field(description="write a model as msclap or transformers load it")

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
        CliApp.run_subcommand(self)


def main() -> None:
    def command() -> None:
        parse(Tclap)

    run_or_exit(command)
