"""The table of a sweep: a line for each configuration and seed as csv; means beside the paper's for people."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tclap.axes import AXIS_OF, shown, value_of, varying
from tclap.config import COEFFICIENTS, Configuration, config_hash
from tclap.evaluation.statistics import Score, t_half_width
from tclap.evaluation.zste import BOUNDS, COLUMNS, bound_values, metric_values
from tclap.evaluation.zste import ORDER as RANKED
from tclap.models.weights import RANDOM
from tclap.places import write_atomically
from tclap.report.grid import STOPPED_AT, About, Grid, score_grid, spread
from tclap.report.plots import table_picture
from tclap.report.render import html_page, latex, markdown
from tclap.sweep.ledger import Result

SHOWN = [*COLUMNS, "3A_order"]
# Measures of order that stand in a table of their own; what else is called order/... is one case of a measure.
ORDER = ["order", "order/moved", "order/paired", "order/bias", "order/unseen", "4A_hard", "4B_hard"]
ROWS = "rows.json"
KEYS = ["stage", *COEFFICIENTS, "batch_size"]  # settings that have a column whether they vary or not
ENDS = frozenset(start + name for start in BOUNDS for name in (*SHOWN, *ORDER))  # of the intervals that tables show
OWN_PREFIXES = ("retrieval/", "order/")  # metrics that a frame calls by their whole name; the others are zste/...
NOTE = (
    "Percent; bold: the best of a column, if its whole 95% interval is better than chance (a number without one: by "
    "half a point). Ours: mean over seeds, ± half of its 95% t-interval where there are several. "
    "3A_order: forward or reversed, chance 50. Rows named *paper* are Table IV as printed (msclap, ESC-50, batch 256)."
)
ORDER_NOTE = (
    "order/moved: 3A_order over a fixed grid of timings, which reaches beyond those of training. order/paired: a "
    "window and its reversal both right; a preference for one of the two captions gets none. order: the mean of "
    "both. order/bias: one caption wins for both, so less is better. 4A_hard, 4B_hard: distractors share a class with "
    "the clip. Bold: as above."
)


def untrained_warning(weights: str | None) -> str:
    """What a table says first if the base has random weights; else nothing."""
    return "**The base is untrained** (`--weights random`): these scores mean nothing. " if weights == RANDOM else ""


def result_frame(configurations: Sequence[Configuration], results: Mapping[tuple[str, int], Result]) -> pd.DataFrame:
    """The long frame of everything that is done, in the order given (see `long_frame`)."""
    of_each: defaultdict[str, list[tuple[int, Result]]] = defaultdict(list)
    for (name, seed), result in results.items():
        of_each[name].append((seed, result))
    return long_frame(
        (configuration, seed, _metrics(result))
        for configuration in configurations
        for seed, result in of_each.get(config_hash(configuration), ())
    )


def about_scores(
    configurations: Sequence[Configuration], scores: Iterable[Mapping[str, Score]], data: str = ""
) -> About:
    """What a table says of its origin; chance and n are told if they are the same in every one of `scores`.

    The chance of `order`, a mean, is the mean of its two measures'.
    """
    models = dict.fromkeys(configuration.model.name for configuration in configurations)
    chance: defaultdict[str, set[float]] = defaultdict(set)
    items: defaultdict[str, set[int]] = defaultdict(set)
    for of_one in scores:
        for name, score in of_one.items():
            chance[name].add(score.chance)
            items[name].add(score.n)
    of_each = {name: next(iter(values)) for name, values in chance.items() if len(values) == 1}
    if set(RANKED) <= set(of_each):
        of_each["order"] = float(np.mean([of_each[name] for name in RANKED]))
    varied = {configuration.vary_draws for configuration in configurations}
    return About(
        data,
        ", ".join(models),
        of_each,
        {name: next(iter(values)) for name, values in items.items() if len(values) == 1},
        next(iter(varied)) if len(varied) == 1 else None,
    )


def long_frame(rows: Iterable[tuple[Configuration, int, Mapping[str, float]]]) -> pd.DataFrame:
    """One row for each (configuration, seed, metrics by their MLflow names), in the order given; scores in percent.

    Columns: KEYS, every other setting that varies among the configurations, `seed`, SHOWN, the other metrics by name
    (`zste_low/3A` and so on among them, see `told`), `stopped_at` if some were stopped early, and `config_hash`. ZSTE
    metrics lose their "zste/". A setting that a configuration does not have is None. Stage-A runs have no row.
    """
    given = list(rows)
    distinct = list(dict.fromkeys(configuration for configuration, _, _ in given))
    assert all(c.coefficients is not None for c in distinct), "stage-A runs have no row"
    axes = [AXIS_OF[key] for key in KEYS]
    axes += [axis for axis in varying(distinct) if axis.column not in KEYS]
    settings = {c: {axis.column: value_of(c, axis) for axis in axes} for c in distinct}
    names = {c: config_hash(c) for c in distinct}
    records = [
        {
            **settings[configuration],
            "seed": seed,
            **{name.removeprefix("zste/"): value for name, value in metrics.items()},
            "config_hash": names[configuration],
        }
        for configuration, seed, metrics in given
    ]
    ends = [*(axis.column for axis in axes), "seed", *SHOWN, "config_hash"]
    others = sorted({name for record in records for name in record} - set(ends))
    return pd.DataFrame(records, columns=[*ends[:-1], *others, "config_hash"])


def setting_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a frame, long or ranked, that are settings; together they tell its configurations apart."""
    return [name for name in frame if name in AXIS_OF]


def settings_label(cells: pd.DataFrame) -> pd.Series:
    """ "AB α 1 0 1 0  β 1  batch 40  lr 0.001" for each row of text cells that hold settings."""
    columns = setting_columns(cells)
    text = cells["stage"].str.ljust(2) + " α " + cells[list(COEFFICIENTS[:4])].agg(" ".join, axis=1)
    for name in columns:
        if name not in ("stage", *COEFFICIENTS[:4]):
            text = text + np.where(cells[name] == "", "", f"  {AXIS_OF[name].symbol} " + cells[name])
    return text


def metric_of(column: str) -> str:
    """The MLflow name of a frame's metric: "3A" is zste/3A, "retrieval/clotho/t2a_r1" is itself."""
    return column if column.startswith(OWN_PREFIXES) else f"zste/{column}"


def told(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those of a run's metrics that a frame holds: its scores, and both ends of the intervals that tables show."""
    scores = ("zste/", *OWN_PREFIXES)
    return {name: value for name, value in metrics.items() if name.startswith(scores) or name in ENDS}


def _metrics(result: Result) -> dict[str, float]:
    metrics = told(metric_values(result.scores) | bound_values(result.scores))
    if result.stopped_at is not None:
        metrics[STOPPED_AT] = float(result.stopped_at)
    for benchmark, scores in result.retrieval.items():
        metrics |= {f"retrieval/{benchmark}/{name}": score.value for name, score in scores.items()}
    return metrics


def order_columns(frame: pd.DataFrame) -> list[str]:
    """The measures of order that a long frame has, in their fixed order."""
    return [name for name in ORDER if name in frame]


def grids_of(
    frame: pd.DataFrame, about: About, links: Mapping[tuple[str, int], str], warning: str = ""
) -> tuple[Grid, ...]:
    """The table of ZSTE, and a second one of order measures if the frame has some."""
    settings = setting_columns(frame)
    several = about.vary_draws is not None and bool(frame.duplicated("config_hash").any())
    note = f"{NOTE} {spread(bool(about.vary_draws))}" if several else NOTE
    grids = [score_grid(frame, SHOWN, settings, about, links, warning + note)]
    if order_columns(frame):
        grids.append(score_grid(frame, order_columns(frame), settings, about, links, ORDER_NOTE))
    return tuple(grids)


def write_tables(
    frame: pd.DataFrame,
    stem: Path,
    warning: str = "",
    about: About | None = None,
    links: Mapping[tuple[str, int], str] | None = None,
    grids: Sequence[Grid] = (),
) -> list[Path]:
    """Write `stem`.csv, .md, .html, .png and .tex, with `warning` before the note; returns their paths in that order.

    With measures of order also `stem`_order.csv. links: (config_hash, seed) -> URL of its run. grids: what `grids_of`
    makes of all this, if it is made already.
    """
    about = about or About()
    grids = grids or grids_of(frame, about, links or {}, warning)
    settings = setting_columns(frame)
    paths = [stem.with_suffix(suffix) for suffix in (".csv", ".md", ".html", ".png", ".tex")]
    # Whole numbers, and nothing where nothing was stopped.
    stopped = frame[[STOPPED_AT]].astype("Int64") if STOPPED_AT in frame else pd.DataFrame(index=frame.index)
    written = pd.concat([frame[[*settings, "seed"]], stopped, frame[SHOWN]], axis=1)
    write_atomically(paths[0], written.to_csv(index=False, lineterminator="\n"))
    write_atomically(paths[1], markdown(grids))
    write_atomically(paths[2], html_page(stem.name, grids))
    table_picture(frame, [*SHOWN, *order_columns(frame)], about, paths[3])
    write_atomically(paths[4], latex(grids))
    if len(grids) > 1:
        paths.append(stem.with_name(f"{stem.name}_order.csv"))
        order = pd.concat([frame[[*settings, "seed"]], stopped, frame[order_columns(frame)]], axis=1)
        write_atomically(paths[5], order.to_csv(index=False, lineterminator="\n"))
    return paths


def write_rows(
    frame: pd.DataFrame,
    table: str,
    objectives: Sequence[str],
    folder: Path,
    sound: str = "",
    page: str = "",
    guards: Sequence[str] = (),
) -> Path:
    """Write what a sweep's trial runs do not say of themselves, for `tclap report` to rebuild its files from MLflow.

    table: the stem of its table's files; objectives: what a search maximised; sound: what it heard, for people; page:
    where a browser finds MLflow; guards: what must hold of a winner, such as "zste/1>=70".
    """
    rows = [[name, int(seed)] for name, seed in zip(frame["config_hash"], frame["seed"], strict=True)]
    facts = {"table": table, "objectives": list(objectives), "guards": list(guards), "rows": rows}
    facts |= {"sound": sound, "page": page}
    write_atomically(folder / ROWS, json.dumps(facts))
    return folder / ROWS


def mean_and_interval(values: pd.Series) -> str:
    """ "52.1 ± 3.4": the mean with half of its 95% t-interval, which one value alone does not have."""
    mean, half = float(values.mean()), t_half_width(values.to_numpy())
    return f"{mean:.1f} ± {half:.1f}" if np.isfinite(half) else f"{mean:.1f}"


def hash_labels(frame: pd.DataFrame) -> dict[str, str]:
    """config_hash -> a short name with everything that varies in the sweep."""
    first = frame.groupby("config_hash", sort=False)[setting_columns(frame)].first().astype(object)
    texts = first.map(lambda value: "" if pd.isna(value) else shown(value))
    return dict(zip(map(str, first.index), settings_label(texts), strict=True))
