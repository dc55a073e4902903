"""Tables that say when what is heard: a row for each event of a recording, as people and public datasets write them.

| columns | who |
|---|---|
| `path,start,end,caption` or `path,start,end,label` | anybody |
| `filename,onset,offset,text` | TACOS (Primus et al., 2025) |
| `filename,onset,offset,event_label` | the strong labels of DCASE's task 4 (DESED), separated by tabs: `.tsv` |

Times are seconds from the start of the recording.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tclap.data.captions import spoken, words
from tclap.data.table import Row, read_table, require
from tclap.errors import InputError

COLUMNS = ("path", "start", "end", "caption")
SCHEMES = (
    COLUMNS,
    ("path", "start", "end", "label"),
    ("filename", "onset", "offset", "text"),
    ("filename", "onset", "offset", "event_label"),
)


@dataclass(frozen=True)
class Span:
    """One event: what is heard, and from when to when, in seconds."""

    start_s: float
    end_s: float
    caption: str  # as a part of a longer one: "a dog barks"


def scheme(columns: Sequence[str]) -> tuple[str, ...] | None:
    """The columns (path, start, end, caption) of a table with times, as it calls them; None if it has no times."""
    return next((names for names in SCHEMES if set(names) <= set(columns)), None)


def read_spans(table: Path) -> dict[str, list[Span]]:
    """Path of each recording -> its events in the order of the table. A row with neither times nor event is none.

    Raises InputError, naming the line: other columns, times that are none, an end that is not after its start.
    """
    columns, rows = read_table(table)
    names = scheme(columns) or COLUMNS
    require(table, columns, names)
    path, start, end, caption = names
    recordings: dict[str, list[Span]] = {}
    for row in rows:
        if not any(row[name].strip() for name in (start, end, caption)):
            continue  # DCASE lists recordings in which nothing happens, too
        since, until = _seconds(table, row, start), _seconds(table, row, end)
        text = spoken(row[caption].replace("_", " ")) if "label" in caption else spoken(row[caption])
        if until <= since or not words(text) or not row[path].strip():
            raise InputError(f"{table} line {row.line}: it needs a {path}, a {caption}, and an {end} after its {start}")
        recordings.setdefault(row[path].strip(), []).append(Span(since, until, text))
    return recordings


def heard_alone(spans: Iterable[Span], shortest_s: float) -> list[Span]:
    """The stretches of at least `shortest_s` in which one event is heard and no other; its own repeats may touch."""
    spans = list(spans)
    times = sorted({time for span in spans for time in (span.start_s, span.end_s)})
    found: list[Span] = []
    for since, until in itertools.pairwise(times):
        going_on = {span.caption for span in spans if span.start_s <= since and until <= span.end_s}
        if len(going_on) != 1:
            continue
        (caption,) = going_on
        if found and (found[-1].caption, found[-1].end_s) == (caption, since):
            since = found.pop().start_s
        found.append(Span(since, until, caption))
    return [span for span in found if span.end_s - span.start_s >= shortest_s]


def _seconds(table: Path, row: Row, column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"{table} line {row.line}: {column} {row[column]!r} is not a time in seconds")
    return value
