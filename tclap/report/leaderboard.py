"""Choosing among a sweep's configurations: the ranking, its guards, the Pareto front and paired comparisons.

All start from the long frame of `tclap.report.tables` (a row for each configuration and seed), take metrics by their
MLflow names ("zste/temporal", "retrieval/clotho/t2a_r1") and hold that higher is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tclap.axes import shown as axes_text
from tclap.errors import InputError
from tclap.evaluation.order import CASES
from tclap.evaluation.statistics import holm, paired_t
from tclap.evaluation.zste import BOUNDS
from tclap.places import write_atomically
from tclap.report.grid import STOPPED_AT, means_and_halves, spread, stopped_steps, text_grid
from tclap.report.render import html_page, markdown
from tclap.report.tables import metric_of, setting_columns
from tclap.sweep.stopping import SIGNS, Guard, pareto_front

INTERVAL = " ±"  # follows a metric's name: half of the mean's 95% t-interval
NOTE = (
    "Percent on the evaluation folds: mean over seeds ± half of its 95% t-interval if there are several. {spread} "
    "front: no other configuration is at least as good in {objectives} and better in one of them."
)


def column_of(frame: pd.DataFrame, metric: str) -> str:
    """The column of a long frame that holds `metric`. Raises InputError listing the metrics there are."""
    columns = frame.columns.difference([*setting_columns(frame), "seed", STOPPED_AT, "config_hash"], sort=False)
    known = {metric_of(c): c for c in columns if not c.startswith(BOUNDS)}
    known_too = {f"zste/{c}": c for c in columns} | known  # MLflow has order/moved as zste/order/moved, too
    if metric not in known_too:
        raise InputError(f"unknown metric {metric!r}; this sweep has {', '.join(known)}")
    return str(known_too[metric])


def rank(
    frame: pd.DataFrame, metric: str, guards: Sequence[Guard] = (), objectives: Sequence[str] = ()
) -> pd.DataFrame:
    """A row for each configuration, best first; those that cannot win stand below, with the reason in `excluded`.

    Columns: the settings, `seeds` (how many), each metric's mean and, as "<metric> ±", half of its interval, `front`
    (on the Pareto front of `objectives`), `excluded` and `config_hash`. A configuration cannot win where a guard does
    not hold for its mean. Where it lacks seeds that others have, or was stopped early, it can neither win nor be on the
    front: a mean of one lucky seed is not comparable, nor is what a part of the steps gave.
    Equals keep the order of `frame`. Raises InputError for an unknown metric.
    """
    metrics = list(dict.fromkeys([metric, *objectives, *(guard.metric for guard in guards)]))
    columns = {name: column_of(frame, name) for name in metrics}
    settings = setting_columns(frame)
    groups = frame.groupby("config_hash", sort=False)
    ranked = groups[settings].first()
    ranked["seeds"] = groups.size()
    means, halves = means_and_halves(frame, list(dict.fromkeys(columns.values())))
    for shown, column in columns.items():
        ranked[shown], ranked[shown + INTERVAL] = means[column], halves[column]
    most = int(groups["seed"].nunique().max())
    stopped = stopped_steps(frame)
    reasons = [
        *((~SIGNS[g.sign](ranked[g.metric], g.bound), [f"{g} does not hold"] * len(ranked)) for g in guards),
        (stopped > 0, [f"stopped at step {step:.0f}" for step in stopped]),
        ((ranked["seeds"] < most) & (stopped == 0), [f"{n} of {most} seeds" for n in ranked["seeds"]]),
        (ranked[metric].isna(), [f"no {metric}"] * len(ranked)),
    ]
    given = [[text if holds else "" for holds, text in zip(where, texts, strict=True)] for where, texts in reasons]
    ranked["excluded"] = ["; ".join(filter(None, of_row)) for of_row in zip(*given, strict=True)]
    ranked = ranked.reset_index()
    ranked["config_hash"] = ranked.pop("config_hash")  # the last column
    comparable = ((ranked["seeds"] == most).to_numpy()) & (stopped == 0).to_numpy()
    front = np.zeros(len(ranked), bool)
    front[comparable] = pareto_front(ranked.loc[comparable, list(objectives or [metric])].to_numpy())
    ranked.insert(ranked.columns.get_loc("excluded"), "front", front)  # type: ignore[arg-type]
    out = (ranked["excluded"] != "").rename("out")
    order = pd.concat([out, -ranked[metric]], axis=1).sort_values(["out", metric], kind="stable").index
    ranked = ranked.loc[order].reset_index(drop=True)
    return ranked.set_index(pd.RangeIndex(1, len(ranked) + 1, name="rank"))


def winner(ranked: pd.DataFrame) -> pd.Series:
    """The first row of a ranking. Raises InputError where every configuration is excluded."""
    first = ranked.iloc[0]
    if first["excluded"]:
        raise InputError(f"no configuration can win; for the first of the ranking, {first['excluded']}")
    return first


def best_line(ranked: pd.DataFrame, metric: str, labels: Mapping[str, str]) -> str:
    """ "AB α 1 0 1 0  β 1  batch 40, zste/temporal 80.4 ± 3.0": the winner of a ranking, or why there is none.

    labels: config_hash -> name. A tie is said, and so is a single seed.
    """
    first = ranked.iloc[0]
    if first["excluded"]:
        return f"none can win; for the first of the ranking, {first['excluded']}"
    half = first[metric + INTERVAL]
    spread = ", one seed" if np.isnan(half) else f" ± {half:.1f}"
    ties = int(((ranked[metric] == first[metric]) & (ranked["excluded"] == "")).sum()) - 1
    tie = f", tied with {ties} other{'s' * (ties > 1)}" if ties else ""
    return f"{labels[first['config_hash']]}, {metric} {first[metric]:.1f}{spread}{tie}"


def weakest_case(frame: pd.DataFrame, name: str) -> str:
    """The case of order/moved that configuration `name` (its hash) answers worst, in words; nothing if none was asked.

    Who knows only where in the window a sound lies is right in most cases, and guesses where both lie in one half.
    """
    cases = [f"order/{case}" for case in CASES if f"order/{case}" in frame]
    means = frame.loc[frame["config_hash"] == name, cases].mean().dropna()
    if means.empty:
        return ""
    return f"its weakest case of order/moved: {means.idxmin()} {means.min():.1f} (chance 50)"


def paired_comparisons(frame: pd.DataFrame, metric: str, best: str) -> pd.DataFrame:
    """The configuration `best` (its hash) against each other one over the seeds they share, in the order of `frame`.

    Columns: the settings, `seeds`, `difference` (best less other, mean over seeds), `low` and `high` (its 95%
    interval), `p` (two-sided paired t-test, by Holm's procedure adjusted for how many pairs of configurations there
    are) and `config_hash`. What was stopped early is not compared: its scores are of fewer steps, so it could not have
    won. `best` was chosen by these same numbers, so each configuration might have stood in its
    place: with k configurations there are k(k-1)/2 comparisons to adjust for, not k-1. One shared seed has no interval,
    and differences that do not vary have no test: NaN.
    """
    column = column_of(frame, metric)
    settings = setting_columns(frame)
    frame = frame[frame["config_hash"].map(stopped_steps(frame)) == 0]
    own = frame[frame["config_hash"] == best].set_index("seed")[column]
    rows = []
    for name, others in frame[frame["config_hash"] != best].groupby("config_hash", sort=False):
        pairs = pd.concat([own, others.set_index("seed")[column]], axis=1, join="inner", keys=["own", "other"]).dropna()
        difference = (pairs["own"] - pairs["other"]).to_numpy()
        low, high, p = paired_t(difference)
        mean = difference.mean() if len(difference) else np.nan
        row = {**others.iloc[0][settings].to_dict(), "seeds": len(pairs), "difference": mean}
        rows.append({**row, "low": low, "high": high, "p": p, "config_hash": name})
    compared = pd.DataFrame(rows, columns=[*settings, "seeds", "difference", "low", "high", "p", "config_hash"])
    configurations = len(compared) + 1
    comparisons = configurations * (configurations - 1) // 2
    return compared.assign(p=holm(compared["p"].to_numpy(float), comparisons))


def ranking_cells(ranked: pd.DataFrame) -> pd.DataFrame:
    """A ranking as text: each metric with its interval in one cell; `excluded` only where it says something."""
    shown = ranked.reset_index()
    for name in [c.removesuffix(INTERVAL) for c in map(str, ranked) if c.endswith(INTERVAL)]:
        pairs = zip(shown[name], shown[name + INTERVAL], strict=True)
        shown[name] = [_cell(mean) + ("" if np.isnan(half) else f"{INTERVAL} {half:.1f}") for mean, half in pairs]
        shown = shown.drop(columns=name + INTERVAL)
    shown["front"] = np.where(shown["front"], "front", "")
    if not shown["excluded"].any():
        shown = shown.drop(columns="excluded")
    return _plain(shown)


def paired_cells(paired: pd.DataFrame) -> pd.DataFrame:
    """Paired comparisons as text, with n/a for what one seed cannot tell; p is headed by how it is adjusted."""
    shown = paired.drop(columns=["low", "high"])
    bounds = zip(paired["low"], paired["high"], strict=True)
    interval = ["n/a" if np.isnan(low) else f"{low:+.1f} to {high:+.1f}" for low, high in bounds]
    shown.insert(shown.columns.get_loc("p"), "95% interval", interval)  # type: ignore[arg-type]
    shown["difference"] = ["n/a" if np.isnan(d) else f"{d:+.1f}" for d in paired["difference"]]
    shown["p"] = ["n/a" if np.isnan(p) else f"{p:.3g}" for p in paired["p"]]
    return _plain(shown.rename(columns={"p": "p (Holm)"}))


def write_leaderboard(
    frame: pd.DataFrame,
    objectives: Sequence[str],
    stem: Path,
    guards: Sequence[Guard] = (),
    vary_draws: bool = False,
) -> list[Path]:
    """Write the ranking by the first objective as `stem`.csv, .md and .html; returns their paths in that order.

    vary_draws: the configurations' own, for the note.
    """
    ranked = rank(frame, objectives[0], guards, objectives)
    shown = ranking_cells(ranked)
    note = NOTE.format(objectives=" and ".join(objectives), spread=spread(vary_draws))
    paths = [stem.with_suffix(suffix) for suffix in (".csv", ".md", ".html")]
    write_atomically(paths[0], ranked.to_csv(lineterminator="\n"))
    grid = text_grid(shown, stem.name, note, fixed=1 + len(setting_columns(ranked)))
    write_atomically(paths[1], markdown([grid]))
    write_atomically(paths[2], html_page(stem.name, [grid]))
    return paths


def _cell(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.1f}"


def _plain(shown: pd.DataFrame) -> pd.DataFrame:
    """Every cell as text; numbers without trailing zeros, and nothing for a setting that a configuration lacks."""
    return shown.astype(object).map(lambda value: "" if pd.isna(value) else axes_text(value))
