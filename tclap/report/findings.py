"""The tables and claims of docs/findings.md, from the results of the study's sweeps (`sweeps/findings.py`).

A value is a mean over evaluation folds, each of which is a mean over its seeds and batch sizes, and its interval is the
95% t-interval over folds: seeds of one fold share their questions. Folds train on each other's clips, and interval and
p are corrected for that (`statistics.paired_t`). If there is one fold alone, the seeds, which draw base, composites and
batches anew, take their place. What rests on neither, or does not vary, has no interval, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tclap.evaluation.order import CASES
from tclap.evaluation.statistics import holm, paired_t
from tclap.report.published import table4_rows

Where = Mapping[str, object]  # column -> value: which rows of the frame
ALPHAS = ["alpha_st", "alpha_ct", "alpha_so", "alpha_co"]
ROW = ["stage", *ALPHAS]
COLUMNS = ("1", "2A", "3A", "3A_order", "3B", "4A", "4B", "5A", "order/moved", "order/paired", "4A_hard", "4B_hard")
CHANGES = tuple(f"order/{case}" for case in CASES if case.startswith("change_"))
OTHER_CASES = tuple(f"order/{case}" for case in CASES if not case.startswith("change_"))
HALVES = ("order/first_half", "order/last_half")
BEGIN, END = "<!-- findings: begin -->", "<!-- findings: end -->"


@dataclass(frozen=True)
class Claim:
    """A difference that the study was made to measure: rows of `plus` less rows of `minus`, equal in `pair` and in fold
    and seed; `minus` may be another metric of the same rows, or a number."""

    question: str
    metric: str
    plus: Where
    minus: Where | str | float
    pair: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """Mean and 95% interval over `units` (folds or seeds); NaN where there is none."""

    mean: float
    half: float
    units: int
    unit: str
    p: float = field(default=float("nan"))
    agree: str = ""  # how many of the fold and seed cells have the mean's sign


def estimate(values: pd.DataFrame, test_per_train: float = 0.0) -> Estimate:
    """Of the column `value` of rows that have `fold` and `seed`; `test_per_train` is that of `paired_t`, for folds."""
    cells = values.groupby(["fold", "seed"])["value"].mean()
    unit = "fold" if values["fold"].nunique() > 1 else "seed"
    means = cells.groupby(unit).mean()
    mean = float(means.mean())
    low, _, p = paired_t(means.to_numpy(), test_per_train if unit == "fold" else 0.0)
    agree = f"{int((cells * mean > 0).sum())} of {len(cells)}"
    return Estimate(mean, mean - low, len(means), unit, p, agree)


def select(frame: pd.DataFrame, where: Where) -> pd.DataFrame:
    """The rows whose columns have these values."""
    chosen = np.ones(len(frame), bool)
    for name, value in where.items():
        chosen &= (frame[name].isin(value) if isinstance(value, tuple | list) else frame[name] == value).to_numpy()
    return frame[chosen]


def differences(frame: pd.DataFrame, claim: Claim) -> pd.DataFrame:
    """Columns fold, seed, value: one row for each pair of rows that the claim compares; empty if there is none."""
    measures = {claim.metric, claim.minus} if isinstance(claim.minus, str) else {claim.metric}
    if not measures <= set(frame):  # nothing that measured them has run
        return pd.DataFrame(columns=["fold", "seed", "value"])
    plus = select(frame, claim.plus)
    if isinstance(claim.minus, str):
        return plus[["fold", "seed"]].assign(value=plus[claim.metric] - plus[claim.minus]).dropna()
    if isinstance(claim.minus, int | float):
        return plus[["fold", "seed"]].assign(value=plus[claim.metric] - claim.minus).dropna()
    keys = ["fold", "seed", *claim.pair]
    minus = select(frame, claim.minus)
    merged = plus[[*keys, claim.metric]].merge(minus[[*keys, claim.metric]], on=keys, suffixes=("", " of minus"))
    value = merged[claim.metric] - merged[f"{claim.metric} of minus"]
    return merged[["fold", "seed"]].assign(value=value).dropna()


def claims_table(frame: pd.DataFrame, claims: Sequence[Claim], test_per_train: float = 0.0) -> pd.DataFrame:
    """A line for each claim that has rows: its difference, interval and p, by Holm's procedure over all these lines."""
    found = [(claim, differences(frame, claim)) for claim in claims]
    made = [(claim, estimate(values, test_per_train)) for claim, values in found if len(values)]
    adjusted = holm(np.array([one.p for _, one in made]))
    rows = []
    for (claim, one), p in zip(made, adjusted, strict=True):
        paper = _papers(claim)
        rows.append(
            {
                "question": claim.question,
                "measure": claim.metric,
                "difference": f"{one.mean:+.1f}",
                "95% interval": _interval(one),
                "over": f"{one.units} {one.unit}{'s' * (one.units != 1)}",
                "same sign": one.agree,
                "p (Holm)": "n/a" if np.isnan(p) else f"{p:.2g}",
                "paper": "" if paper is None else f"{paper:+.1f}{_against(paper, one, p)}",
            }
        )
    return pd.DataFrame(rows)


def _against(paper: float, one: Estimate, p: float) -> str:
    """Whether our difference speaks against the paper's: by its adjusted p, or by its interval alone."""
    if paper * one.mean >= 0:
        return ""
    return ", contradicted" if p < 0.05 else ", other side" if abs(one.mean) > one.half else ""  # NaN is neither


def _papers(claim: Claim) -> float | None:
    """The same difference among the rows of the paper's Table IV; None if it does not hold them."""
    rows = table4_rows().reset_index().rename(columns={"stages": "stage"})
    if claim.metric not in rows or not isinstance(claim.minus, Mapping):
        return None
    known = {*ROW}
    own = {"data", "timing", "row_o"}  # the paper's is one of each
    wheres = [{k: v for k, v in where.items() if k not in own} for where in (claim.plus, claim.minus)]
    if any(set(where) - known for where in wheres) or wheres[0] == wheres[1]:
        return None
    rows = rows.assign(fold=0, seed=0)
    values = differences(
        rows, Claim("", claim.metric, wheres[0], wheres[1], tuple(k for k in claim.pair if k in known))
    )
    return float(values["value"].mean()) if len(values) else None


def _interval(one: Estimate) -> str:
    if math.isnan(one.half):
        return "none: one alone" if one.units == 1 else "none: no spread"
    return f"{one.mean - one.half:+.1f} to {one.mean + one.half:+.1f}"


def _cell(one: Estimate) -> str:
    return f"{one.mean:.1f} ± {one.half:.1f}" if np.isfinite(one.half) else f"{one.mean:.1f}"


def row_table(
    frame: pd.DataFrame, by: Sequence[str], columns: Sequence[str] = COLUMNS, test_per_train: float = 0.0
) -> pd.DataFrame:
    """A line for each combination of `by`, in the order of the frame: each column's mean ± half of its interval."""
    shown = [name for name in columns if name in frame and frame[name].notna().any()]
    rows = []
    for key, group in frame.groupby(list(by), sort=False, dropna=False):
        values = key if isinstance(key, tuple) else (key,)
        settings = {name: _text(value) for name, value in zip(by, values, strict=True)}
        cells = {}
        for name in shown:
            known = group.assign(value=group[name]).dropna(subset=["value"])
            cells[name] = _cell(estimate(known, test_per_train)) if len(known) else ""
        rows.append({**settings, **cells})
    return pd.DataFrame(rows)


def range_table(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """A line for each combination of `by`: the lowest and the highest that single runs have, and of their cases."""
    cases = [name for name in (*CHANGES, *OTHER_CASES) if name in frame]
    groups = {
        "3A_order": ["3A_order"],
        "order/moved": ["order/moved"],
        "change points": [name for name in CHANGES if name in frame],
        "halves": [name for name in HALVES if name in frame],
    }
    rows = []
    for key, group in frame.groupby(list(by), sort=False):
        settings = {name: _text(value) for name, value in zip(by, key, strict=True)}
        cells = {title: _range(group.reindex(columns=columns).to_numpy()) for title, columns in groups.items()}
        weakest = group.reindex(columns=cases).min(axis=1).to_numpy()
        rows.append({**settings, "runs": str(len(group)), **cells, "weakest case": _range(weakest)})
    return pd.DataFrame(rows)


def _range(values: np.ndarray) -> str:
    known = values[~np.isnan(values)]
    return f"{known.min():.1f} to {known.max():.1f}" if len(known) else ""


def paper_table(columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """The paper's Table IV in the same columns."""
    rows = table4_rows().reset_index().rename(columns={"stages": "stage"})
    shown = [name for name in columns if name in rows]
    return pd.concat([rows[ROW].map(_text), rows[shown].map(lambda value: f"{value:.1f}")], axis=1)


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return f"{value:g}" if isinstance(value, int | float | np.number) else str(value)


def put_between_marks(page: str, generated: str) -> str:
    """`page` with what stands between its two marks replaced; the marks are added at its end if it has none."""
    if BEGIN not in page:
        page = f"{page.rstrip()}\n\n{BEGIN}\n{END}\n"
    head, _, rest = page.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n{generated.strip()}\n{END}{tail}"
