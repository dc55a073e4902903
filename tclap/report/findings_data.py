"""The numbers that docs/findings.md rests on, kept beside it as docs/findings.csv.

A line for each run and each base, every metric to its last digit. The study takes hours: with this file it may be done
in parts and on several machines, and anyone can compute its tables and intervals again without training.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from tclap.errors import InputError
from tclap.places import write_atomically
from tclap.report.tables import setting_columns

SWEEP, HASH = "sweep", "config_hash"
RUN = (SWEEP, "stage", HASH, "seed")  # no two rows have the same; a base has no hash
NEEDED = (*RUN, "data", "timing", "row_o", "fold")


def read_study(file: Path) -> pd.DataFrame:
    """The kept frame (`findings_page.study_frame`'s columns); empty if there is no such file yet.

    Raises InputError if it is no study's file.
    """
    if not file.exists():
        return pd.DataFrame(columns=list(NEEDED))
    try:
        frame = pd.read_csv(file, float_precision="round_trip", dtype={SWEEP: str, HASH: str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as csv: {error}") from error
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        raise InputError(f"{file} has no column {missing[0]!r}: it is not the data of a study")
    return frame


def write_study(file: Path, frame: pd.DataFrame) -> None:
    write_atomically(file, frame.to_csv(index=False, lineterminator="\n"))


def updated(kept: pd.DataFrame, fresh: pd.DataFrame) -> pd.DataFrame:
    """`kept` with the rows of `fresh`, which take the place of those of the same runs; by sweep."""
    if kept.empty or fresh.empty:
        return kept if fresh.empty else fresh
    both = pd.concat([kept, fresh], ignore_index=True).drop_duplicates(list(RUN), keep="last")
    return both.sort_values(SWEEP, kind="stable", ignore_index=True)


def unequal(kept: pd.DataFrame, fresh: pd.DataFrame) -> tuple[int, list[str]]:
    """How many rows are in both, and which sweeps have a number that is not the same in every digit.

    Settings are no such numbers: the hash holds them, and they have a column only once they differ within a sweep.
    """
    if kept.empty or fresh.empty:
        return 0, []
    measured = [name for name in kept if name in fresh and name not in {*RUN, *setting_columns(kept)}]
    pairs = kept.merge(fresh, on=list(RUN), suffixes=(" kept", " fresh"))
    differ = pd.Series(False, index=pairs.index)
    for name in measured:
        one, other = pairs[f"{name} kept"], pairs[f"{name} fresh"]
        differ |= (one != other) & ~(one.isna() & other.isna())
    return len(pairs), sorted(set(pairs.loc[differ, SWEEP]))


def of_plan(frame: pd.DataFrame, plan: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """The rows of the sweeps of `plan` (sweep -> its configurations' hashes), in its order.

    Rows of other sweeps, or of configurations that a sweep does not have any more, are left out, and so is the base of
    a sweep that has no other row.
    """
    chosen = []
    for sweep, hashes in plan.items():
        rows = frame[frame[SWEEP] == sweep]
        trained = rows[rows[HASH].isin(list(hashes))]
        if len(trained):
            chosen += [trained, rows[rows["stage"] == "base"]]
    return pd.concat(chosen, ignore_index=True) if chosen else frame.iloc[:0]
