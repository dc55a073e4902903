"""CompA-order (Ghosh et al., "CompA", ICLR 2024): two sounds of the same events in other orders, two captions.

https://github.com/Sreyan88/CompA, whose README links the archive and whose `evaluation/benchmark_eval.py` reads it: a
csv with `pair_caption`, `reversed_pair_caption`, `pair_file`, `reversed_pair_file`, and a folder of sounds
`CompA_order_files`. About a hundred rows name a third sound (`triplet_file`, `triplet_caption`, else "-"); the
makers' own evaluation does not read them, and neither do we.
"""

from __future__ import annotations

from pathlib import Path

from tclap.data.table import read_table, require
from tclap.evaluation.suites.items import Item, Suite, checked, only_file, sound

COLUMNS = ("pair_caption", "reversed_pair_caption", "pair_file", "reversed_pair_file")
SOUNDS = "CompA_order_files"


def read(path: Path) -> Suite:
    """The suite of an unpacked archive, or of its csv. Each row is a group of two items.

    Raises InputError: no csv, other columns, missing sounds.
    """
    csv = only_file(path, ("*order*.csv", "*.csv"), "CompA-order csv") if path.is_dir() else path
    folders = (csv.parent / SOUNDS, csv.parent)
    columns, rows = read_table(csv)
    require(csv, columns, COLUMNS)
    items = []
    for row in rows:
        group = f"line {row.line}"
        pair, reversed_pair = row["pair_caption"].strip(), row["reversed_pair_caption"].strip()
        items.append(Item(sound(row["pair_file"], folders), pair, (reversed_pair,), group, group))
        items.append(Item(sound(row["reversed_pair_file"], folders), reversed_pair, (pair,), group, group))
    return checked("compa", csv, items)
