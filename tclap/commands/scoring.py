"""`tclap zste` and `tclap retrieval`: score a model by name or a checkpoint, beside the published numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, Field, field_validator
from rich.table import Column, Table

from tclap import models
from tclap.commands.registered import STORAGE, check_name, fetched, open_any
from tclap.config import Trainable
from tclap.console import console
from tclap.data import dataset as datasets
from tclap.evaluation.captioned import find_clips, read_captions
from tclap.evaluation.retrieval import retrieve
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import summary
from tclap.experiment import evaluate, open_workspace
from tclap.models import best_device
from tclap.models.protocol import ContrastiveModel
from tclap.places import PathOrName, UserPath, cache_folder, check_new_file, check_writable, write_atomically
from tclap.report.published import model_column, retrieval_rows
from tclap.scored import is_checkpoint, open_on

BASELINES = ("CLAP", "CLAP-LAION")


class ModelFlags(BaseModel):
    """Which model is scored."""

    model: PathOrName = Field(
        "mini", description=f"{', '.join(models.NAMES)}, hf:REPO, package.module:factory, or a checkpoint folder"
    )
    weights: str | None = Field(None, description="weights of a pretrained model: a file or folder; default: the hub")
    trainable: Trainable = Field("paper", description="where a pretrained model is cut into cached and trained half")
    json_out: UserPath | None = Field(None, alias="json", description="also write the scores to this file")

    @field_validator("json_out")
    @classmethod
    def _can_be_written(cls, file: Path | None) -> Path | None:
        if file is not None:
            check_new_file(file)  # before the scores are computed
        return file


class TrainedModelFlags(ModelFlags):
    """Which model is scored on sounds of any kind: not mini by its name, whose base knows one dataset's classes."""

    model: PathOrName = Field(
        description="a checkpoint folder, models:/tclap@champion, hf:REPO, package.module:factory, or a pretrained "
        "model by name"
    )
    storage: UserPath = Field(Path("runs"), description=STORAGE)

    def load(self) -> ContrastiveModel:
        """The model, where it is scored. Raises InputError as `open_any` does."""
        model = open_any(self.model, self.storage, self.weights, self.trainable)
        model.module().to(best_device())
        return model


class Zste(ModelFlags):
    """Score a model on ZSTE, beside the published baselines: every column with n, 95% interval and chance."""

    data: UserPath = Field(description="dataset: a folder or a csv, in any layout")
    folds: tuple[int, ...] = Field((5,), description="folds to score")
    train_folds: tuple[int, ...] = Field((1, 2, 3), description="folds of mini's base")
    eval_takes: int = Field(4, ge=1, description="composites drawn for each pair of classes")
    base_steps: int = Field(100, ge=1, description="optimiser steps of mini's base")
    storage: UserPath = Field(Path("runs"), description=f"folder whose cache is used, and {STORAGE}")

    def cli_cmd(self) -> None:
        with fetched(self.model, self.storage, self.weights, self.trainable) as name:
            is_checkpoint(name)  # refused before anything is read
            check_writable(self.storage)
            workspace = open_workspace(self.data, cache_folder(self.storage))
            datasets.check_folds(workspace.dataset, {"folds": self.folds})
            model, data = open_on(
                workspace,
                name,
                self.folds,
                weights=self.weights,
                trainable=self.trainable,
                train_folds=self.train_folds,
                base_steps=self.base_steps,
            )
        model.module().to(best_device())
        scores = evaluate(workspace, data.model_copy(update={"eval_takes": self.eval_takes}), model, self.folds)
        print_scores(scores)
        say_untrained(model)
        if self.json_out:
            write_json(self.json_out, scores, summary(scores))


class Retrieval(TrainedModelFlags):
    """Text-audio retrieval in the AudioCaps or Clotho layout, beside Tables II and III."""

    audio: UserPath = Field(description="folder of the benchmark's clips")
    captions: UserPath = Field(description="the benchmark's caption file (AudioCaps or Clotho csv)")
    allow_missing: bool = Field(False, description="evaluate without the clips that are missing or unusable")

    def cli_cmd(self) -> None:
        check_name(self.model)
        clips = find_clips(self.audio, read_captions(self.captions))
        model = self.load()
        result = retrieve(model, clips, self.allow_missing)
        console.print(
            f"{result.clips} clips, {result.captions} captions, {len(result.missing)} clips missing or unusable"
        )
        rows = retrieval_rows()
        ours = {name: f"{score.value:.1f} ({score.low:.1f}-{score.high:.1f})" for name, score in result.scores.items()}
        table = pd.DataFrame.from_dict({"ours": ours, **rows}, orient="index", columns=list(ours)).fillna("")
        console.print(table.to_markdown(disable_numparse=True))
        console.print("percent, ours with 95% interval; the others as printed in Tables II and III: AudioCaps / Clotho")
        say_untrained(model)
        if self.json_out:
            write_json(self.json_out, result.scores, {"clips": result.clips, "missing": len(result.missing)})


def print_scores(scores: dict[str, Score]) -> None:
    """Every column with its interval, n and chance, beside the published values of the untrained baselines."""
    columns = [model_column(name) for name in BASELINES]
    whole = (Column(name, no_wrap=True, overflow="fold") for name in ("task", "%", "95% interval"))
    table = Table(*whole, "n", "chance", *(f"{name}, Table V" for name in BASELINES))
    for name, score in scores.items():
        published = [f"{c[name]:.2f}" + ("†" if name == "5A" else "") if name in c else "" for c in columns]
        interval = f"{score.low:.1f} – {score.high:.1f}"
        table.add_row(name, f"{score.value:.1f}", interval, str(score.n), f"{score.chance:.1f}", *published)
    console.print(table)
    for name, value in summary(scores).items():
        console.print(f"zste/{name} {value:.1f}")
    console.print("† published 5A lies below what a random model gets under half credit: not the same score")


def say_untrained(model: ContrastiveModel) -> None:
    if getattr(model, "untrained", False):
        console.print("the base has random weights (--weights random): these scores mean nothing", style="red")


def write_json(path: Path, scores: Mapping[str, Score], others: Mapping[str, float]) -> None:
    values = {**others, **{name: asdict(score) for name, score in scores.items()}}
    write_atomically(path, json.dumps(values, indent=1))
