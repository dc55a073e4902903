"""A csv of one's own: `audio,right,wrong[,wrong_2...][,group]`, for every suite that has no reader here.

`audio` is a path from the csv's folder; every column whose name begins with "wrong" is a wrong caption, empty if an
item has fewer. Items with the same `group` count together, and are taken to share sounds.
"""

from __future__ import annotations

from pathlib import Path

from tclap.data.table import read_table, require
from tclap.evaluation.suites.items import Item, Suite, checked, only_file

COLUMNS = ("audio", "right", "wrong")


def read(path: Path) -> Suite:
    """The suite of a csv, or of a folder with one. Raises InputError: other columns, missing sounds."""
    csv = only_file(path, ("*.csv",), "csv of items") if path.is_dir() else path
    columns, rows = read_table(csv)
    require(csv, columns, COLUMNS)
    wrong = [column for column in columns if column.startswith("wrong")]
    items = []
    for row in rows:
        given = row.values.get("group", "").strip()
        texts = tuple(row[column].strip() for column in wrong if row[column].strip())
        group, unit = given or f"line {row.line}", given or row["audio"]
        items.append(Item(csv.parent / row["audio"], row["right"].strip(), texts, group, unit))
    return checked("plain", csv, items)
