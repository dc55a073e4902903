"""`tclap check-model`: does a model keep to what tclap asks of it, and can it hear order at all?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg
from rich.table import Table

from tclap.config import DataSettings, Trainable
from tclap.console import console
from tclap.data import captions, compose, synth
from tclap.data.dataset import Dataset
from tclap.evaluation.embed import embed_suite
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import Suite, build_suite, score_suite
from tclap.experiment import open_workspace
from tclap.features import audio_features, text_features
from tclap.models import best_device
from tclap.models.conformance import Finding, findings
from tclap.models.protocol import ContrastiveModel
from tclap.places import PathOrName
from tclap.scored import open_model

COLUMNS = ("1", "3A", "3A_order", "order/moved", "order/paired")
FOLDS = (4, 5)


class CheckModel(BaseModel):
    """Check a model in a minute: shapes, norms, batches, and whether order moves its embeddings. Exit code 1 if not."""

    model: CliPositionalArg[PathOrName] = Field(
        description="package.module:factory, hf:REPO, a name, or a checkpoint folder"
    )
    weights: str | None = Field(None, description="weights of the model, as its factory or its family takes them")
    trainable: Trainable = Field("paper", description="where a pretrained model is cut into cached and trained half")

    def cli_cmd(self) -> None:
        def build() -> ContrastiveModel:
            return open_model(self.model, self.weights, self.trainable)

        model = build()
        model.module().to(best_device())
        console.print(f"{model.name}: windows of {model.window_s:g} s at {model.sample_rate_hz} Hz")
        seen: list[Finding] = []
        for finding in findings(model, build):
            seen.append(finding)
            console.print(f"{'ok  ' if finding.passed else 'FAIL'} {finding.check}: {finding.line}")
        failed = [finding.check for finding in seen if not finding.passed]
        if not {"shapes", "numbers", "float16"} & set(failed):
            _print_scores(model)
        if failed:
            console.print(f"{len(failed)} of {len(seen)} checks failed: {', '.join(failed)}")
            raise SystemExit(1)
        console.print(f"all {len(seen)} checks passed")


def _print_scores(model: ContrastiveModel) -> None:
    """ZSTE on a few synthetic sounds, between an oracle and a random model: that the suite tells them apart."""
    with tempfile.TemporaryDirectory() as scratch:
        root = synth.write_dataset(Path(scratch) / "data", classes=5, clips=5, seed=0)
        workspace = open_workspace(root, Path(scratch) / "cache")
        suite = build_suite(workspace.dataset, FOLDS, DataSettings(eval_takes=1))
        audio = audio_features(model, workspace.dataset, workspace.dataset_digest, suite.composites, workspace.cache)
        text = text_features(model, suite.captions, workspace.cache)
        rows = {
            "an oracle": oracle(suite, workspace.dataset),
            model.name: embed_suite(model, suite, audio, text),
            "a random model": _random(suite),
        }
    scored = {name: score_suite(suite, *embeddings) for name, embeddings in rows.items()}
    title = "on 5 synthetic classes, percent right, 95% intervals"
    table = Table("", *(name.removeprefix("order/") for name in COLUMNS), title=title)
    for name, scores in scored.items():
        table.add_row(name, *(_cell(scores[column]) for column in COLUMNS))
    table.add_row("chance", *(f"{scored[model.name][column].chance:.0f}" for column in COLUMNS))
    console.print(table)


def _cell(score: Score) -> str:
    return f"{score.value:.0f} ({score.low:.0f}-{score.high:.0f})"


def oracle(suite: Suite, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings ([W, Q], [Q, Q]) of a model that knows each window: it is at the captions that are true of it."""
    row_of = {caption: row for row, caption in enumerate(suite.captions)}
    audio = np.zeros((len(suite.composites), len(row_of)), np.float32)
    heard = suite.composites
    for window, (kind, first, second) in enumerate(zip(heard.kind, heard.first, heard.second, strict=True)):
        i, j = (dataset.class_names[dataset.class_ids[clip]] for clip in (first, second))
        true = {
            compose.SINGLE: (captions.single_zste(i),),
            compose.JOIN: (captions.before(i, j),),
            compose.OVERLAY: (captions.overlaid(i, j), captions.overlaid(j, i)),
        }[int(kind)]
        audio[window, [row_of[caption] for caption in true]] = 1
    return audio / np.linalg.norm(audio, axis=1, keepdims=True), np.eye(len(row_of), dtype=np.float32)


def _random(suite: Suite) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)

    def drawn(n: int) -> np.ndarray:
        z = rng.standard_normal((n, 64))
        return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)

    return drawn(len(suite.composites)), drawn(len(suite.captions))
