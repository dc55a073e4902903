"""Timed captions: order items from real recordings, as they are.

Any csv with `path,start,end,caption` (seconds), or TACOS as published (Primus et al., 2025,
https://zenodo.org/records/15379789): `annotations_strong.csv` with `filename,text,onset,offset`, beside `audio/`.

Two captions of a recording make an item if everything that the first describes has ended when the second starts:
"{first} before {second}" is right and the exchange is wrong. A caption that comes several times spans all of them. The
items of a recording are one group: it is right if all of its order is.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

from tclap.data.captions import before, spoken
from tclap.data.table import Row, read_table, require
from tclap.errors import InputError
from tclap.evaluation.suites.items import Item, Suite, checked, sound

TACOS_FILE = "annotations_strong.csv"
TACOS = ("filename", "onset", "offset", "text")
COLUMNS = ("path", "start", "end", "caption")


def read(path: Path) -> Suite:
    """The suite of a csv, or of a folder that holds TACOS.

    Sounds are looked for in `audio/` beside the csv, then beside it. Raises InputError: other columns, times that are
    no numbers or end before they start, an empty caption, missing sounds, no two captions that follow one another.
    """
    csv = path / TACOS_FILE if path.is_dir() else path
    folders = (csv.parent / "audio", csv.parent)
    items: list[Item] = []
    silent = 0
    for name, spans in read_captions(csv).items():
        audio, before_it = sound(name, folders), len(items)
        for one, other in itertools.combinations(spans, 2):
            first, second = sorted((one, other), key=lambda caption: spans[caption])
            if spans[first][1] <= spans[second][0]:
                items.append(Item(audio, before(first, second), (before(second, first),), name, name))
        silent += len(items) == before_it
    notes = [f"{silent} recording(s) left out: no two captions follow one another"] if silent else []
    return checked("timed", csv, items, notes)


def read_captions(csv: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Path of each recording -> its captions, as parts of a sentence -> from when to when they are true, in seconds.

    Raises InputError, naming the line: other columns, times that are none, an end that is not after its start.
    """
    columns, rows = read_table(csv)
    path, start, end, caption = names = TACOS if set(TACOS) <= set(columns) else COLUMNS
    require(csv, columns, names)
    recordings: dict[str, dict[str, tuple[float, float]]] = {}
    for row in rows:
        since, until = _seconds(csv, row, start), _seconds(csv, row, end)
        text = spoken(row[caption])
        if until <= since or not text or not row[path].strip():
            raise InputError(f"{csv} line {row.line}: it needs a {path}, a {caption}, and an {end} after its {start}")
        spans = recordings.setdefault(row[path].strip(), {})
        earlier = spans.get(text, (since, until))
        spans[text] = min(earlier[0], since), max(earlier[1], until)
    return recordings


def _seconds(csv: Path, row: Row, column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"{csv} line {row.line}: {column} {row[column]!r} is not a time in seconds")
    return value
