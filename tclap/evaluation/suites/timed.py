"""Timed captions: order items from real recordings, as they are.

Any csv with `path,start,end,caption` (seconds), or TACOS as published (Primus et al., 2025,
https://zenodo.org/records/15379789): `annotations_strong.csv` with `filename,text,onset,offset`, beside `audio/`.

Two captions of a recording make an item if everything that the first describes has ended when the second starts:
"{first} before {second}" is right and the exchange is wrong. A caption that comes several times spans all of them. The
items of a recording are one group: it is right if all of its order is.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from tclap.data.captions import before
from tclap.errors import InputError
from tclap.evaluation.suites.items import Item, Suite, checked, read_table, sound, spoken

TACOS_FILE = "annotations_strong.csv"
TACOS = {"filename": "path", "onset": "start", "offset": "end", "text": "caption"}
COLUMNS = ("path", "start", "end", "caption")


def read(path: Path) -> Suite:
    """The suite of a csv, or of a folder that holds TACOS.

    Sounds are looked for in `audio/` beside the csv, then beside it. Raises InputError: other columns, times that are
    no numbers or end before they start, an empty caption, missing sounds, no two captions that follow one another.
    """
    csv = path / TACOS_FILE if path.is_dir() else path
    table = read_captions(csv)
    folders = (csv.parent / "audio", csv.parent)
    items = []
    for name, captions in table.groupby("path", sort=False):
        spans = captions.groupby("caption", sort=False).agg({"start": "min", "end": "max"})
        audio = sound(str(name), folders)
        for (one, a), (other, b) in itertools.combinations(spans.iterrows(), 2):
            for first, second, ordered in ((one, other, a["end"] <= b["start"]), (other, one, b["end"] <= a["start"])):
                if ordered:
                    right, wrong = before(str(first), str(second)), before(str(second), str(first))
                    items.append(Item(audio, right, (wrong,), str(name), str(name)))
                    break
    silent = table["path"].nunique() - len({item.group for item in items})
    notes = [f"{silent} recording(s) left out: no two captions follow one another"] if silent else []
    return checked("timed", csv, items, notes)


def read_captions(csv: Path) -> pd.DataFrame:
    """Columns path, start [s], end [s], caption (as part of a sentence), a line for each of the csv's. InputError."""
    header = read_table(csv, (), "timed captions").columns
    names = TACOS if set(TACOS) <= set(header) else {name: name for name in COLUMNS}
    table = read_table(csv, tuple(names), f"a csv of timed captions ({','.join(COLUMNS)})")[list(names)].rename(
        columns=names
    )
    for column in ("start", "end"):
        seconds = pd.to_numeric(table[column], errors="coerce")
        bad = np.flatnonzero(~np.isfinite(seconds) | (seconds < 0))
        if len(bad):
            raise InputError(
                f"{csv} line {bad[0] + 2}: {column} {table[column].iloc[bad[0]]!r} is not a time in seconds"
            )
        table[column] = seconds
    table["caption"] = table["caption"].map(spoken)
    bad = np.flatnonzero((table["end"] <= table["start"]) | (table["caption"] == "") | (table["path"] == ""))
    if len(bad):
        raise InputError(f"{csv} line {bad[0] + 2}: it needs a path, a caption, and an end after its start")
    return table
