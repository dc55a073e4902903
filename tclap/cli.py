"""The `tclap` command: everything that needs no cluster.

tclap data synth|esc50|check|preview
tclap pretrain | train | zste
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliPositionalArg,
    CliSubCommand,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from rich.console import Console
from rich.table import Table

from tclap import models
from tclap.command_line import run_or_exit
from tclap.config import DataSettings, LossCoefficients, ModelSettings, OptimiserSettings, config_hash
from tclap.data import esc50, synth
from tclap.data.preview import write_preview
from tclap.errors import InputError
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import summary
from tclap.report.published import model_column
from tclap.storage import cache_folder, check_writable, checkpoint_folder, write_atomically
from tclap.sweep_settings import TrainingFlags
from tclap.training import checkpoint
from tclap.training.base import base_checkpoint
from tclap.training.loop import Report
from tclap.training.run import Workspace, base_of, check, evaluate, open_workspace, provenance, train

console = Console(soft_wrap=True, highlight=False)


class Synth(BaseModel):
    """Write the synthetic dataset: parametric sounds in ESC-50's layout."""

    out: CliPositionalArg[Path]
    classes: int = Field(10, description="2 to 50")
    clips: int = Field(40, description="clips a class, a multiple of 5")
    seed: int = Field(0, ge=0)

    def cli_cmd(self) -> None:
        synth.write_dataset(self.out, self.classes, self.clips, self.seed)
        console.print(f"{self.classes * self.clips} synthetic clips of {self.classes} classes in {self.out}")


class Esc50(BaseModel):
    """Download ESC-50 (600 MB; CC BY-NC 3.0: not for commercial use)."""

    out: CliPositionalArg[Path]

    def cli_cmd(self) -> None:
        esc50.download_esc50(self.out)
        console.print(f"ESC-50 in {self.out} (CC BY-NC 3.0: not for commercial use)")


class Check(BaseModel):
    """List every problem of a dataset; exit code 1 where there is one."""

    folder: CliPositionalArg[Path]
    train_folds: tuple[int, ...] | None = Field(None, description="check that each class has a clip in these folds")
    eval_folds: tuple[int, ...] | None = None
    test_folds: tuple[int, ...] | None = None

    def cli_cmd(self) -> None:
        dataset = esc50.read_index(self.folder)
        asked = {"train_folds": self.train_folds, "eval_folds": self.eval_folds, "test_folds": self.test_folds}
        sets = {name: folds for name, folds in asked.items() if folds}
        each: dict[str, tuple[int, ...]] = {f"fold {fold}": (int(fold),) for fold in np.unique(dataset.folds)}
        problems = esc50.decode_problems(dataset, np.arange(len(dataset.filenames)))
        problems += esc50.fold_problems(dataset, sets or each)
        for problem in problems:
            console.print(problem, markup=False)
        n, classes = len(dataset.filenames), len(dataset.class_names)
        console.print(f"{n} clips of {classes} classes, {len(problems)} problem(s)")
        if problems:
            raise SystemExit(1)


class Preview(BaseModel):
    """Write a handful of composites of each kind as wav files, with their captions, to listen to."""

    folder: CliPositionalArg[Path]
    out: CliPositionalArg[Path]
    count: int = Field(4, ge=1, description="class pairs")
    window_s: float = Field(5.0, gt=0)
    sample_rate_hz: int = Field(44_100, ge=8000)
    seed: int = Field(0, ge=0)

    def cli_cmd(self) -> None:
        dataset = esc50.read_index(self.folder)
        table = write_preview(dataset, self.out, self.count, self.window_s, self.sample_rate_hz, self.seed)
        console.print(table.to_string(index=False), markup=False)


class Data(BaseModel):
    """Make, download, check and listen to datasets."""

    synth: CliSubCommand[Synth]
    esc50: CliSubCommand[Esc50]
    check: CliSubCommand[Check]
    preview: CliSubCommand[Preview]

    def cli_cmd(self) -> None:
        CliApp.run_subcommand(self)


def _workspace(flags: TrainingFlags) -> Workspace:
    check_writable(flags.storage)
    return open_workspace(flags.data or synth.default_dataset(flags.storage), cache_folder(flags.storage))


def _append_loss(losses: list[float]) -> Report:
    return lambda step, metrics: losses.append(metrics["loss"])


class Pretrain(TrainingFlags):
    """Train mini's base on single sounds, unless its checkpoint exists, and print where it is."""

    def cli_cmd(self) -> None:
        workspace = _workspace(self)
        data, settings = self.data_settings(), self.model_settings()
        folds = {"train_folds": data.train_folds}
        esc50.check_folds(workspace.dataset, folds)
        losses: list[float] = []
        place = base_checkpoint(
            workspace.dataset,
            workspace.dataset_digest,
            data,
            settings,
            workspace.cache,
            _append_loss(losses),
        )
        if losses:
            console.print(f"{len(losses)} steps, loss {losses[0]:.3f} -> {losses[-1]:.3f}")
        console.print(str(place), markup=False)


class Train(TrainingFlags):
    """Train and evaluate one configuration, without Ray."""

    stages: Literal["B", "AB"] = "AB"
    batch_size: int = Field(40, ge=1)
    seed: int = Field(0, ge=0)
    alpha_st: float = Field(1.0, ge=0)
    alpha_ct: float = Field(1.0, ge=0)
    alpha_so: float = Field(1.0, ge=0)
    alpha_co: float = Field(1.0, ge=0)
    beta: float = Field(1.0, ge=0)
    any_alpha: bool = Field(False, description="allow coefficients other than 0 and 1")
    name: str = Field("train", description="folder below --storage")

    @model_validator(mode="after")
    def _coefficients_are_binary(self) -> Train:
        for name in LossCoefficients.model_fields:
            value = getattr(self, name)
            if value not in (0, 1) and not self.any_alpha:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} {value:g} must be 0 or 1 as in the paper; --any-alpha allows other weights")
        return self

    def cli_cmd(self) -> None:
        coefficients = LossCoefficients(**{name: getattr(self, name) for name in LossCoefficients.model_fields})
        configuration = self.configuration(self.stages, coefficients, self.batch_size)
        workspace = _workspace(self)
        check(workspace.dataset, configuration)
        start = base_of(workspace, configuration)
        runs = [configuration.stage_a_configuration()] if self.stages == "AB" else []
        for part in [*runs, configuration]:
            losses: list[float] = []
            model = train(workspace, part, self.seed, start, report=_append_loss(losses))
            start = checkpoint_folder(self.storage / self.name, part, self.seed)
            checkpoint.save(start, model, provenance(workspace, part, self.seed))
            name, stage = config_hash(part), part.stages[-1]
            console.print(f"stage {stage} of {name}: {len(losses)} steps, loss {losses[0]:.3f} -> {losses[-1]:.3f}")
        print_scores(evaluate(workspace, configuration.data, model, configuration.data.eval_folds))
        console.print(f"checkpoint: {start}", markup=False)


class Zste(BaseModel):
    """Score a model on ZSTE, beside the published CLAP: every column with n, 95% interval and chance."""

    model: str = Field("mini", description="mini (its base, trained on --train-folds) or a checkpoint folder")
    data: Path = Field(description="dataset folder in ESC-50's layout")
    folds: tuple[int, ...] = Field((5,), description="folds to score")
    train_folds: tuple[int, ...] = Field((1, 2, 3), description="folds of mini's base")
    eval_takes: int = Field(4, ge=1)
    base_steps: int = Field(100, ge=1, description="optimiser steps of mini's base")
    json_out: Path | None = Field(None, alias="json", description="also write the scores to this file")
    storage: Path = Field(Path("runs"), description="folder whose cache is used")

    def cli_cmd(self) -> None:
        if self.model not in models.NAMES and not (Path(self.model) / checkpoint.CONFIG).is_file():
            known = ", ".join(models.NAMES)
            raise InputError(f"unknown model {self.model!r}: neither one of {known} nor a checkpoint folder")
        check_writable(self.storage)
        workspace = open_workspace(self.data, cache_folder(self.storage))
        esc50.check_folds(workspace.dataset, {"folds": self.folds})
        if self.model in models.NAMES:
            data = DataSettings(train_folds=self.train_folds, eval_folds=self.folds, test_folds=())
            esc50.check_folds(workspace.dataset, {"train_folds": self.train_folds})
            base = ModelSettings(name="mini", base=OptimiserSettings(steps=self.base_steps))
            model = checkpoint.load(
                base_checkpoint(workspace.dataset, workspace.dataset_digest, data, base, workspace.cache)
            )
        else:
            data = _data_of_checkpoint(Path(self.model), workspace, self.folds)
            model = checkpoint.load(Path(self.model))
        scores = evaluate(workspace, data.model_copy(update={"eval_takes": self.eval_takes}), model, self.folds)
        print_scores(scores)
        if self.json_out:
            values = {**summary(scores), **{name: asdict(score) for name, score in scores.items()}}
            write_atomically(self.json_out, json.dumps(values, indent=1))


def _data_of_checkpoint(folder: Path, workspace: Workspace, folds: tuple[int, ...]) -> DataSettings:
    """The data settings that a checkpoint was trained with. Raises InputError where `folds` were among them."""
    made = checkpoint.read_config(folder).get("provenance", {})
    assert isinstance(made, dict)
    if "configuration" not in made:
        return DataSettings()
    data = DataSettings(**made["configuration"]["data"])
    seen = sorted(set(data.train_folds) & set(folds))
    if made.get("dataset_digest") == workspace.dataset_digest and seen:
        raise InputError(f"{folder} was trained on fold {seen[0]} of this dataset; score it on other --folds")
    return data


def print_scores(scores: dict[str, Score]) -> None:
    """Every column with its interval, n and chance, beside CLAP's published value."""
    clap = model_column("CLAP")
    table = Table("task", "%", "95% interval", "n", "chance", "CLAP, Table V")
    for name, score in scores.items():
        published = f"{clap[name]:.2f}" + ("†" if name == "5A" else "") if name in clap else ""
        interval = f"{score.low:.1f} – {score.high:.1f}"
        table.add_row(name, f"{score.value:.1f}", interval, str(score.n), f"{score.chance:.1f}", published)
    console.print(table)
    for name, value in summary(scores).items():
        console.print(f"zste/{name} {value:.1f}")
    console.print("† published 5A lies below what a random model gets under half credit: not the same score")


class Tclap(BaseSettings):
    """Teach audio-language models the order of sounds, and measure it."""

    model_config = SettingsConfigDict(
        cli_prog_name="tclap",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
    )

    data: CliSubCommand[Data]
    pretrain: CliSubCommand[Pretrain]
    train: CliSubCommand[Train]
    zste: CliSubCommand[Zste]

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
        CliApp.run(Tclap)

    run_or_exit(command)
