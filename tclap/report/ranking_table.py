"""A ranking, a front or comparisons as a table for a terminal."""

from __future__ import annotations

import pandas as pd
from rich.table import Table

from tclap.console import NARROW, console
from tclap.report.tables import setting_columns, settings_label

SHOWN_ROWS = 20


def print_ranking(title: str, cells: pd.DataFrame) -> None:
    """Print the first rows of text cells; the settings share one column, so that a line fits a terminal."""
    cells = cells.drop(columns="config_hash")
    named = settings_label(cells)
    cells = cells.drop(columns=setting_columns(cells))
    cells.insert(cells.columns.get_loc("seeds"), "configuration", named)  # type: ignore[arg-type]
    if "excluded" in cells and not cells["excluded"].any():
        cells = cells.drop(columns="excluded")
    table = Table(title=title, **NARROW)
    for name in cells.columns:
        table.add_column(name, no_wrap=name != "excluded")  # its words may take two lines
    for row in cells.head(SHOWN_ROWS).itertuples(index=False):
        table.add_row(*row)
    console.print(table)
    if len(cells) > SHOWN_ROWS:
        console.print(f"and {len(cells) - SHOWN_ROWS} more (`tclap report` writes them all)")
