"""A csv of one's own: `audio,right,wrong[,wrong...][,group]`, for every suite that has no reader here.

`audio` is a path from the csv's folder; every column whose name begins with "wrong" is a wrong caption, empty where an
item has fewer. Items with the same `group` count together, and are taken to share sounds.
"""

from __future__ import annotations

from pathlib import Path

from tclap.evaluation.suites.items import Item, Suite, checked, only_file, read_table

COLUMNS = ("audio", "right", "wrong")


def read(path: Path) -> Suite:
    """The suite of a csv, or of a folder with one. Raises InputError: other columns, missing sounds."""
    csv = only_file(path, ("*.csv",), "csv of items") if path.is_dir() else path
    table = read_table(csv, COLUMNS, "a csv of order items (audio,right,wrong[,wrong...][,group])")
    wrong = [column for column in table.columns if column.startswith("wrong")]
    items = []
    for line, cells in enumerate(table.to_dict("records"), start=2):
        group = cells.get("group") or f"line {line}"
        texts = tuple(cells[column].strip() for column in wrong if cells[column].strip())
        unit = group if cells.get("group") else cells["audio"]
        items.append(Item(csv.parent / cells["audio"], cells["right"].strip(), texts, group, unit))
    return checked("plain", csv, items)
