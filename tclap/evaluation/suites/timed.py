"""Timed captions: order items from real recordings, as they are.

Any table with times (`tclap.data.timed`), such as a csv with `path,start,end,caption`, or TACOS as published (Primus et
al., 2025, https://zenodo.org/records/15379789): `annotations_strong.csv` with `filename,text,onset,offset`, beside
`audio/`.

Two captions of a recording make an item if everything that the first describes has ended when the second starts:
"{first} before {second}" is right and the exchange is wrong. A caption that comes several times spans all of them. The
items of a recording are one group: it is right if all of its order is.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from tclap.data.captions import before
from tclap.data.timed import read_spans
from tclap.evaluation.suites.items import Item, Suite, checked, sound

TACOS_FILE = "annotations_strong.csv"


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

    Raises InputError as `read_spans` does.
    """
    recordings: dict[str, dict[str, tuple[float, float]]] = {}
    for name, events in read_spans(csv).items():
        spans = recordings.setdefault(name, {})
        for event in events:
            earlier = spans.get(event.caption, (event.start_s, event.end_s))
            spans[event.caption] = min(earlier[0], event.start_s), max(earlier[1], event.end_s)
    return recordings
