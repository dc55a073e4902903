"""`tclap data`: make, download, check and listen to datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field
from pydantic_settings import CliApp, CliPositionalArg, CliSubCommand

from tclap.config import ModelName, Timing
from tclap.console import console
from tclap.data import dataset as datasets
from tclap.data import synth
from tclap.data.audio import decode_problems, without_length
from tclap.data.download import download_esc50
from tclap.data.imported import SHORTEST_S, import_dataset
from tclap.data.layouts import read_dataset
from tclap.data.preview import write_preview
from tclap.models import family


class Synth(BaseModel):
    """Write the synthetic dataset: parametric sounds in ESC-50's layout."""

    out: CliPositionalArg[Path] = Field(description="a new or empty folder")
    classes: int = Field(10, description="2 to 50")
    clips: int = Field(40, description="clips a class, a multiple of 5")
    seed: int = Field(0, ge=0, description="of the sounds")

    def cli_cmd(self) -> None:
        synth.write_dataset(self.out, self.classes, self.clips, self.seed)
        console.print(f"{self.classes * self.clips} synthetic clips of {self.classes} classes in {self.out}")


class Esc50(BaseModel):
    """Download ESC-50 (600 MB; CC BY-NC 3.0: not for commercial use)."""

    out: CliPositionalArg[Path] = Field(description="a folder without a dataset")

    def cli_cmd(self) -> None:
        download_esc50(self.out)
        console.print(f"ESC-50 in {self.out} (CC BY-NC 3.0: not for commercial use)")


class Import(BaseModel):
    """Bring sounds into ESC-50's layout: events with times are cut out, files of other formats converted by ffmpeg."""

    source: CliPositionalArg[Path] = Field(description="a folder or a table, in any layout or with times")
    out: CliPositionalArg[Path] = Field(description="a new or empty folder")
    seed: int = Field(0, ge=0, description="of the folds, drawn by recording if none are given")
    shortest_s: float = Field(SHORTEST_S, gt=0, description="what is cut out lasts at least so long")

    def cli_cmd(self) -> None:
        console.print(import_dataset(self.source, self.out, self.seed, self.shortest_s))


class Check(BaseModel):
    """List every problem of a dataset; exit code 1 if there is one."""

    folder: CliPositionalArg[Path] = Field(description="dataset: a folder or a csv")
    model: ModelName = Field("mini", description="decode at this model's sample rate, and look for what it can hear")
    train_folds: tuple[int, ...] | None = Field(None, description="check that each class has a clip in these folds")
    eval_folds: tuple[int, ...] | None = Field(None, description="and in these")
    test_folds: tuple[int, ...] | None = Field(None, description="and in these")
    allow_shared_recordings: bool = Field(False, description="say nothing of recordings whose clips cross the folds")

    def cli_cmd(self) -> None:
        dataset, line = read_dataset(self.folder)
        console.print(line)
        asked = {"train_folds": self.train_folds, "eval_folds": self.eval_folds, "test_folds": self.test_folds}
        sets = {name: folds for name, folds in asked.items() if folds}
        each: dict[str, tuple[int, ...]] = {f"fold {fold}": (int(fold),) for fold in np.unique(dataset.folds)}
        files = [dataset.path(clip) for clip in range(len(dataset.filenames))]
        problems = list(
            decode_problems(files, family(self.model).describe(self.model, "paper", None).sample_rate_hz).values()
        )
        problems += datasets.fold_problems(dataset, sets or each)
        for problem in problems:
            console.print(problem)
        note = datasets.shared_recordings_note(dataset, sets or each)
        if note and not self.allow_shared_recordings:
            console.print(f"warning: {note}")
        endless = without_length(files)
        if endless:
            names = ", ".join(path.name for path in endless[:3]) + (", ..." if len(endless) > 3 else "")
            console.print(
                f"warning: {len(endless)} file(s) do not say how long they are, so half would look whole: {names}",
            )
        n, classes = len(dataset.filenames), len(dataset.class_names)
        console.print(f"{n} clips of {classes} classes, {len(problems)} problem(s)")
        if problems:
            raise SystemExit(1)


class Preview(BaseModel):
    """Write composites of each kind as wav files, with their captions, to listen to, and order items to score."""

    folder: CliPositionalArg[Path] = Field(description="dataset: a folder or a csv")
    out: CliPositionalArg[Path] = Field(description="a new or empty folder")
    count: int = Field(4, ge=1, description="class pairs")
    window_s: float = Field(5.0, ge=0.1, le=600, description="length of a composite")
    sample_rate_hz: int = Field(44_100, ge=8000, le=192_000, description="of the wav files")
    seed: int = Field(0, ge=0, description="of what is drawn")
    timing: Timing = Field("drawn", description="drawn, or midpoint: each sound half of the window")
    folds: tuple[int, ...] | None = Field(None, description="folds whose clips are heard; default: all")

    def cli_cmd(self) -> None:
        dataset, line = read_dataset(self.folder)
        console.print(line)
        table = write_preview(
            dataset,
            self.out,
            self.count,
            self.window_s,
            self.sample_rate_hz,
            self.seed,
            timing=self.timing,
            folds=self.folds,
        )
        console.print(table.to_string(index=False))


class Data(BaseModel):
    """Make, download, import, check and listen to datasets."""

    synth: CliSubCommand[Synth] = Field(description="write the synthetic dataset")
    esc50: CliSubCommand[Esc50] = Field(description="download ESC-50")
    import_: CliSubCommand[Import] = Field(alias="import", description="bring any sounds into ESC-50's layout")
    check: CliSubCommand[Check] = Field(description="list every problem of a dataset")
    preview: CliSubCommand[Preview] = Field(description="write composed sounds with their captions, to listen to")

    def cli_cmd(self) -> None:
        CliApp.run_subcommand(self)
