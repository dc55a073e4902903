"""The note on top of a sweep's page in MLflow, as markdown: how far it is, the leaderboard so far, how to go on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tclap.report.grid import SYMBOL_OF, text_grid
from tclap.report.leaderboard import best_line, rank, ranking_cells
from tclap.report.render import markdown
from tclap.report.tables import hash_labels, setting_columns
from tclap.sweep.stopping import Guard

MOST_ROWS = 20


def sweep_note(
    name: str,
    status: str,
    frame: pd.DataFrame,
    objectives: Sequence[str],
    plan: str = "",
    command: str = "",
    guards: Sequence[Guard] = (),
) -> str:
    """A sweep's note. status: such as "5 of 8 configurations done, 12 min left"; frame: what is done, it may be empty.

    plan: the plan as text, with one line for each job. Settings that do not vary are left out. Raises InputError for an
    unknown objective or guard.
    """
    parts = [f"**{name}**: {status}"]
    if len(frame):
        ranked = rank(frame, objectives[0], guards, objectives)
        cells = ranking_cells(ranked)
        same = [c for c in setting_columns(ranked) if ranked[c].nunique(dropna=False) < 2 and c != "stage"]
        parts.append(f"Best so far: {best_line(ranked, objectives[0], hash_labels(frame))}")
        more = f"\nand {len(cells) - MOST_ROWS} more\n" if len(cells) > MOST_ROWS else ""
        shown = cells.drop(columns=same).head(MOST_ROWS).rename(columns=SYMBOL_OF)
        parts.append(markdown([text_grid(shown)]) + more)
    if command:
        parts.append(f"To go on:\n\n```\n{command}\n```")
    if plan:
        parts.append(f"### Plan\n\n```\n{plan}\n```")
    return "\n\n".join(parts) + "\n"
