"""Table V for any list of models: a row for each, with the paper's six columns as rows beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from tclap.config import Timing
from tclap.evaluation.statistics import Score
from tclap.places import write_atomically
from tclap.report.grid import Cell, Grid, Line
from tclap.report.published import published
from tclap.report.render import html_page, markdown
from tclap.report.tables import SHOWN

NOTE = (
    "Percent, with 95% intervals for ours. Ours are all asked the same questions, whatever they were trained with; "
    "sounds lie where {timing} timing has them. 3A_order: forward or reversed, chance 50: the honest measure of order. "
    "Rows named *paper* are Table V as printed (ESC-50); its 5A lies below what a random model gets under half credit, "
    "so it is not the same score as ours (marked †)."
)


@dataclass(frozen=True)
class ScoredModel:
    """One model of the list: its scores, or why there are none."""

    model: str
    scores: Mapping[str, Score] = field(default_factory=dict)
    untrained: bool = False  # random weights: its scores mean nothing
    problem: str | None = None


def frame(scored: Sequence[ScoredModel]) -> pd.DataFrame:
    """One line for each score, and one for each model without: model, task, value, low, high, n, chance, note."""
    lines: list[dict[str, object]] = []
    for one in scored:
        note = one.problem or ("random weights" if one.untrained else "")
        lines += [
            {
                "model": one.model,
                "task": task,
                "value": score.value,
                "low": score.low,
                "high": score.high,
                "n": score.n,
                "chance": score.chance,
                "note": note,
            }
            for task, score in one.scores.items()
        ] or [{"model": one.model, "note": note}]
    return pd.DataFrame(lines, columns=["model", "task", "value", "low", "high", "n", "chance", "note"])


def table_grid(scored: Sequence[ScoredModel], timing: Timing = "drawn") -> Grid:
    """Ours, then chance, then the paper's six. What a model has beyond ZSTE's columns follows them.

    timing: of the questions that ours were asked.
    """
    others = dict.fromkeys(task for one in scored for task in one.scores if task not in SHOWN)
    tasks = [*SHOWN, *others]
    lines = []
    for one in scored:
        note = "not scored" if one.problem else "random weights: means nothing" if one.untrained else ""
        lines.append(_line("ours", one.model, [Cell(_text(one.scores.get(task))) for task in tasks], note))
    chances: dict[str, float] = {task: score.chance for one in scored for task, score in one.scores.items()}
    cells = [Cell(f"{chances[task]:.1f}" if task in chances else "") for task in tasks]
    lines.append(_line("chance", "chance", cells))
    for name, printed in printed_columns().items():
        cells = [
            Cell(f"{printed[task]:.2f}", marks="†" * (task == "5A")) if task in printed else Cell("") for task in tasks
        ]
        lines.append(_line("paper", f"paper {name}", cells))
    problems = [f"{one.model} is not scored: {one.problem}." for one in scored if one.problem]
    note = " ".join([*problems, NOTE.format(timing=timing)])
    return Grid(("model", *tasks, "note"), tuple(lines), fixed=1, note=note)


def printed_columns() -> dict[str, dict[str, float]]:
    """Table V's columns: a name such as "CLAP" or "T-CLAP AB" -> ZSTE column -> percent."""
    table = published().query("table == 'V'")
    names = table["model"] + table["stages"].map(lambda stages: f" {stages}" if isinstance(stages, str) else "")
    return {
        str(name): dict(zip(rows["metric"], rows["value"], strict=True))
        for name, rows in table.groupby(names, sort=False)
    }


def write(scored: Sequence[ScoredModel], stem: Path, timing: Timing = "drawn") -> list[Path]:
    """Write `stem`.csv, .md and .html; returns their paths. timing: of the questions that the models were asked."""
    paths = [stem.with_suffix(suffix) for suffix in (".csv", ".md", ".html")]
    write_atomically(paths[0], frame(scored).to_csv(index=False, lineterminator="\n"))
    grid = table_grid(scored, timing)
    write_atomically(paths[1], markdown([grid]))
    write_atomically(paths[2], html_page(stem.name, [grid]))
    return paths


def _line(origin: Literal["ours", "paper", "chance"], name: str, cells: Sequence[Cell], note: str = "") -> Line:
    return Line(origin, (Cell(name), *cells, Cell(note)))


def _text(score: Score | None) -> str:
    return "" if score is None else f"{score.value:.1f} ({score.low:.0f}-{score.high:.0f})"
