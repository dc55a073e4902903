"""The generated part of docs/findings.md: which questions the study asks, and the tables that answer them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tclap.config import Configuration
from tclap.report.findings import (
    ALPHAS,
    CHANGES,
    COLUMNS,
    OTHER_CASES,
    ROW,
    Claim,
    Where,
    claims_table,
    paper_table,
    range_table,
    row_table,
    select,
)
from tclap.report.grid import text_grid
from tclap.report.render import markdown
from tclap.report.tables import result_frame
from tclap.sweep.ledger import Ledger

SYNTHETIC, ESC50, UNSEEN = "synthetic", "esc50", "esc50, 10 classes held out"


def _alphas(*values: float) -> dict[str, object]:
    return dict(zip(ALPHAS, values, strict=True))


NONE, OWN, OTHERS, ALL = _alphas(0, 0, 0, 0), _alphas(1, 0, 1, 0), _alphas(0, 1, 0, 1), _alphas(1, 1, 1, 1)
TRAINED = ("B", "AB")
ORDER = ("order/moved", "order/paired")
CHANCE = {"order/moved": 50.0, "order/paired": 25.0, "order/unseen": 50.0}
QUESTIONS_NOTE = (
    "Differences in percentage points between configurations that are equal in all else, fold and seed too. *same "
    "sign*: of the cells of fold and seed. p is adjusted for all lines of a table (Holm), the intervals are not. "
    "*paper*: the same difference in Table IV. If ours has the other sign, it is *contradicted* where p is below 0.05, "
    "and *other side* where only our interval, which is not adjusted, lies on the other side of 0. Until five sweeps "
    "had run, that alone was called contradicted."
)
LATER_NOTE = "As above; a family of its own, of as many lines as it has."


@dataclass(frozen=True)
class Line:
    """One sweep of the study with one seed, and the scores of its untrained base by their metric names."""

    data: str
    fold: int
    timing: str
    row_o: str
    configurations: Sequence[Configuration]
    ledger: Ledger
    base: dict[str, float]
    seed: int


def study_frame(lines: Sequence[Line]) -> pd.DataFrame:
    """A row for each finished configuration and seed, and one for each base (`stage` is "base"); empty without lines.

    Columns: sweep, data, timing, row_o, fold, and those of `tables.long_frame`.
    """
    frames = []
    for line in lines:
        base = {"stage": "base", "seed": line.seed, **{k.removeprefix("zste/"): v for k, v in line.base.items()}}
        trained = result_frame(line.configurations, line.ledger.results)
        both = pd.concat([trained, pd.DataFrame([base])], ignore_index=True)
        named = both.assign(sweep=line.ledger.folder.name, data=line.data, timing=line.timing, row_o=line.row_o)
        frames.append(named.assign(fold=line.fold))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def claims() -> list[Claim]:
    """What the study asks; written before any of it had run."""
    esc50: Where = {"data": ESC50, "timing": "drawn"}
    synthetic: Where = {"data": SYNTHETIC, "timing": "drawn", **NONE}
    unseen: Where = {"data": UNSEEN, "alpha_st": 1}
    found = [*_claims_on(ESC50), *_claims_on(SYNTHETIC)]
    for metric in ("order/moved", "1"):
        large, small = ({**esc50, "batch_size": size} for size in (128, 32))
        found.append(Claim("esc50: batch size 128 less 32", metric, large, small, tuple(ROW)))
    for metric in ("3B", "order/moved"):
        alpha, printed = ({**synthetic, "row_o": row_o} for row_o in ("alpha", "printed"))
        title = "synthetic: row o as released less as printed, α 0 0 0 0"
        found.append(Claim(title, metric, alpha, printed, ("stage", "batch_size")))
    touched = "unseen classes, α_st 1: all pairs less those with an unseen class"
    found.append(Claim("unseen classes, α_st 1: less chance", "order/unseen", unseen, CHANCE["order/unseen"]))
    found.append(Claim(touched, "order/moved", unseen, "order/unseen"))
    return found


def later_claims() -> list[Claim]:
    """The same questions under the paper's timing, and batch size 64 less 32: asked when 15 of the 30 sweeps had run,
    so a family of their own."""
    found = [claim for data in (ESC50, SYNTHETIC) for claim in _claims_under(data, "midpoint", f"{data}, midpoint")]
    for timing, title, large in (
        ("midpoint", "esc50, midpoint", 128),
        ("midpoint", "esc50, midpoint", 64),
        ("drawn", "esc50", 64),
    ):
        here: Where = {"data": ESC50, "timing": timing}
        for metric in ("order/moved", "1"):
            more, less = ({**here, "batch_size": size} for size in (large, 32))
            found.append(Claim(f"{title}: batch size {large} less 32", metric, more, less, tuple(ROW)))
    return found


def _claims_on(data: str) -> list[Claim]:
    """What is asked of both datasets."""
    found = _claims_under(data, "drawn", data)
    here: Where = {"data": data, "row_o": "printed", "stage": TRAINED, "alpha_st": 1}
    drawn, midpoint = ({**here, "timing": timing} for timing in ("drawn", "midpoint"))
    every = (*ROW, "batch_size")
    found.append(Claim(f"{data}: drawn timing less midpoint, α_st 1", "order/moved", drawn, midpoint, every))
    for name, where in (("drawn", drawn), ("midpoint", midpoint)):
        found.append(Claim(f"{data}: {name}, α_st 1: 3A_order less moved", "3A_order", where, "order/moved"))
    return found


def _claims_under(data: str, timing: str, title: str) -> list[Claim]:
    """What is asked of one dataset under one timing."""
    here: Where = {"data": data, "timing": timing, "row_o": "printed", "stage": TRAINED}
    batch = ("stage", "batch_size")
    rows = [
        ("own pair's negatives teach order: α 1 0 1 0 less 0 0 0 0", OWN, NONE),
        ("other pairs' do: α 0 1 0 1 less 0 0 0 0", OTHERS, NONE),
        ("both more than own alone: α 1 1 1 1 less 1 0 1 0", ALL, OWN),
    ]
    found = []
    for metric in (*ORDER, "3A"):  # 3A is in the paper
        found += [Claim(f"{title}: {what}", metric, {**here, **a}, {**here, **b}, batch) for what, a, b in rows]
    for metric in ORDER:
        found += [
            Claim(f"{title}: α {name} less chance", metric, {**here, **row}, CHANCE[metric])
            for name, row in (("0 0 0 0", NONE), ("1 1 1 1", ALL))
        ]
    for metric in ("order/moved", "3A", "1"):
        after_a, alone = ({**here, "stage": stage} for stage in ("AB", "B"))
        found.append(Claim(f"{title}: stage A helps: AB less B", metric, after_a, alone, (*ALPHAS, "batch_size")))
    found.append(Claim(f"{title}: forgetting: trained less base", "1", here, {**here, "stage": "base"}))
    return found


def page_of(
    frame: pd.DataFrame, planned: int, missing: Sequence[str], partly: Sequence[str] = (), test_per_train: float = 0.0
) -> str:
    """The generated part. missing: sweeps of the plan without a result; partly: those that lack some; test_per_train:
    test clips to each training clip of a fold."""
    ran = f"{planned - len(missing)} of the {planned} sweeps of the plan have results."
    parts = ["## What teaches order", ran]
    if missing:
        parts.append("Not run, so not in what follows:\n\n" + _grouped(missing))
    if partly:
        parts.append("Not finished, and in what follows with what they have:\n\n" + _grouped(partly))
    if frame.empty:
        return "\n\n".join([*parts, "Nothing has been run yet."])
    parts.append(
        "Percent. A cell is a mean over folds, each the mean over its seeds and batch sizes, ± half of its 95% "
        "t-interval over folds; with one fold, over seeds; none if nothing varies. Seeds draw base, composites and "
        f"batches anew. {_corrected(test_per_train)}Made by `python sweeps/findings.py`; a sweep's own report lies in "
        "its folder below `runs/`."
    )
    for title, where, by, columns in _tables():
        rows = select(frame, where)
        if len(rows):
            table = row_table(rows, by, columns or COLUMNS, test_per_train)
            parts += [f"### {title}", markdown([text_grid(table)])]
    taught = select(frame, {"row_o": "printed", "stage": TRAINED})
    if len(taught):
        parts += [
            "### Lowest and highest of single runs",
            "*halves*: both sounds in the first or in the last half. *weakest case*: of each run, the lowest of the 15 "
            "cases of order/moved.",
            markdown([text_grid(range_table(taught, ["data", "timing", "alpha_st", "stage"]))]),
        ]
    if (frame["data"] == ESC50).any():
        parts += ["### The paper's Table IV, as printed (msclap, batch 256)", markdown([text_grid(paper_table())])]
    for title, note, asked in (
        ("The questions, asked before it ran", QUESTIONS_NOTE, claims()),
        ("Asked when half of it had run: the same under the paper's timing", LATER_NOTE, later_claims()),
    ):
        answered = claims_table(frame, asked, test_per_train)
        if len(answered):
            parts += [f"### {title}", note, markdown([text_grid(answered)])]
    return "\n\n".join(parts)


def _corrected(test_per_train: float) -> str:
    """What is said of intervals over folds that train on each other's clips."""
    if not test_per_train:
        return ""
    wider = math.sqrt(1 + 3 * test_per_train)
    return (
        "Folds train on each other's clips, so they are not independent: interval and p have the correction of Nadeau "
        f"and Bengio (2003; {test_per_train:g} clips are scored for each that is trained on, so an interval over three "
        f"folds is {wider:.2f} times as wide as the plain one). "
    )


def _grouped(names: Sequence[str]) -> str:
    """ "- `findings-esc50`: fold2-batch64-seed0, ..." for each part."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        part = name.partition("-fold")[0].partition("-seed")[0]
        groups[part].append(name.removeprefix(f"{part}-"))
    return "\n".join(f"- `{part}`: {', '.join(rest)}" for part, rest in groups.items())


def _tables() -> list[tuple[str, Where, list[str], tuple[str, ...]]]:
    """(title, which rows, a line for each, columns); no columns: the usual ones."""
    synthetic: Where = {"data": SYNTHETIC, "row_o": "printed"}
    drawn, trained, timings = {"timing": "drawn"}, {"stage": TRAINED}, ["timing", *ROW]
    esc50: Where = {"data": ESC50}
    unseen = ("1", "unseen/1", "3A", "unseen/3A", "3A_order", "unseen/3A_order", "order/moved", "order/unseen")
    both = {"data": SYNTHETIC, **drawn, **trained}
    return [
        ("Row o as printed and as released: synthetic, drawn timing", both, ["row_o", *ROW], ()),
        ("The paper's timing and drawn timing: synthetic", synthetic, timings, ()),
        ("The same over the change point", {**synthetic, **trained}, timings, CHANGES),
        (
            "And with both sounds in a part of the window, with a gap, with noise",
            {**synthetic, **trained},
            timings,
            OTHER_CASES,
        ),
        ("ESC-50, drawn timing", {**esc50, **drawn}, ROW, ()),
        ("ESC-50, drawn timing, by batch size", {**esc50, **drawn, **trained}, ["batch_size", "stage"], ()),
        ("ESC-50, the paper's timing", {**esc50, "timing": "midpoint"}, ROW, ()),
        ("ESC-50 over the change point", {**esc50, **trained}, timings, CHANGES),
        (
            "ESC-50 with both sounds in a part of the window, with a gap, with noise",
            {**esc50, **trained},
            timings,
            OTHER_CASES,
        ),
        ("ESC-50, ten classes held out of base and training", {"data": UNSEEN}, ROW, unseen),
    ]
