"""The note on top of the page that MLflow has for one run, as markdown: what it is, and its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from tclap.axes import shown
from tclap.config import Configuration
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import metric_values
from tclap.report.grid import text_grid
from tclap.report.render import markdown
from tclap.sweep.curve import SHOWN

STAGE = {
    "A": "stage A (one sound or several)",
    "B": "stage B (which order) from the base",
    "AB": "stage B (which order) after stage A",
}


def run_line(configuration: Configuration, seed: int, of: str) -> str:
    """One sentence: what the run of one configuration and seed is. of: how it begins, "A run of the sweep s"."""
    c, data = configuration, configuration.data
    steps = f"{c.optimiser.steps} step{'s' * (c.optimiser.steps != 1)} of batch {c.batch_size}"
    folds = f"trained on {_folds(data.train_folds)}, scored on {_folds(data.eval_folds)}"
    return f"{of}: {STAGE[c.stages]}, model {c.model.name}, {steps}, seed {seed}, {folds}."


def scores_note(scores: Mapping[str, Score], stopped: str = "") -> str:
    """A run's scores in percent with their 95% intervals. stopped: why it was stopped early, if it was.

    MLflow folds a long note, so what people look for first stands in front.
    """
    rows = [
        (name, f"{s.value:.1f}", f"{s.low:.1f} to {s.high:.1f}", f"{s.chance:.1f}", f"{s.n}")
        for name, s in scores.items()
    ]
    cells = pd.DataFrame(rows, columns=["score", "percent", "95% interval", "chance", "items"])
    values = metric_values(scores)
    first = ", ".join(f"{name} {values[name]:.1f}" for name in SHOWN if name in values)
    early = f"Stopped early: {stopped}." if stopped else ""
    return "\n\n".join(filter(None, (early, first, markdown([text_grid(cells)]))))


def _folds(folds: Sequence[int]) -> str:
    return f"fold{'s' * (len(folds) > 1)} {', '.join(map(shown, folds))}"
