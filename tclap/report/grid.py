"""A sweep's scores as a table for people: what stands in each cell, what is bold, what the paper printed beside it.

`render.py` writes a `Grid` as markdown, html or LaTeX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from tclap.axes import AXIS_OF, shown
from tclap.config import COEFFICIENTS
from tclap.evaluation.zste import BOUNDS
from tclap.report.published import SETTINGS, published

SYMBOL_OF = {column: axis.symbol for column, axis in AXIS_OF.items()} | {"stage": "stage"}
ALWAYS = ("stage", *COEFFICIENTS[:4])  # what tells the rows of Table IV apart; other settings only if they vary
LOWER_IS_BETTER = ("order/bias",)
MARKS = ("†", "‡", "§", "¶", "‖", "#")
PAPER_BATCH = "256"
NO_INTERVAL = 0.5  # points: half of the interval of a number that has none of its own
STOPPED_AT = "stopped_at"  # a frame's column with the step at which a configuration was stopped early, if some was


@dataclass(frozen=True)
class About:
    """Where a table's numbers come from; what is not known stays empty."""

    data: str = ""  # "synthetic sound, fold 4"
    model: str = ""
    chance: Mapping[str, float] = field(default_factory=dict)  # column -> percent
    items: Mapping[str, int] = field(default_factory=dict)  # column -> n
    vary_draws: bool | None = None  # what the seeds of all configurations draw, see `spread`

    def line(self, frame: pd.DataFrame) -> str:
        """ "mini on synthetic sound, fold 4; mean of 3 seeds", or of 2 to 8 if its configurations have not the same."""
        counts = frame.groupby("config_hash")["seed"].nunique()
        least, most = int(counts.min()), int(counts.max())
        origin = " on ".join(part for part in (self.model, self.data) if part)
        count = "one seed" if most == 1 else f"mean of {most if least == most else f'{least} to {most}'} seeds"
        return f"{origin}; {count}" if origin else count


def spread(vary_draws: bool) -> str:
    """What a ± over seeds is made of, for the note of a table."""
    if vary_draws:
        return "The seeds draw composites and batches anew, and mini's base."
    return "The seeds draw only the order of batches anew, which understates how much results vary (--vary-draws)."


@dataclass(frozen=True)
class Cell:
    """Text, and what a page may add to it."""

    text: str
    marks: str = ""  # of its footnotes
    interval: str = ""  # "[96.1, 98.4]": 95% over recordings, of a number that is no mean over seeds
    best: bool = False
    title: str = ""  # shown on hovering
    links: tuple[tuple[str, str], ...] = ()  # (text, URL); one without a text links the cell's own


@dataclass(frozen=True)
class Line:
    """A row, by what it is.

    When a page is sorted, the paper's stays below the row that it follows, and chance at the end with all below it.
    """

    origin: Literal["ours", "paper", "chance"]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """A table; the first `fixed` columns name the row."""

    headers: tuple[str, ...]
    lines: tuple[Line, ...]
    fixed: int = 0
    chance: tuple[str, ...] = ()  # under each header, such as "33"; empty if none is known
    title: str = ""
    note: str = ""
    footnotes: tuple[tuple[str, str], ...] = ()  # (mark, text)


def text_grid(cells: pd.DataFrame, title: str = "", note: str = "", fixed: int = 0) -> Grid:
    """A grid of a frame whose cells are text already."""
    lines = [Line("ours", tuple(map(Cell, row))) for row in cells.astype(str).itertuples(index=False, name=None)]
    return Grid(tuple(map(str, cells.columns)), tuple(lines), fixed, title=title, note=note)


def score_grid(
    frame: pd.DataFrame,
    columns: Sequence[str],
    settings: Sequence[str],
    about: About,
    links: Mapping[tuple[str, int], str],
    note: str = "",
) -> Grid:
    """A line for each configuration of a long frame, and under it the paper's, if Table IV has its setting.

    settings: the frame's columns that are settings. Of these, `ALWAYS` and those that vary have a column, and the title
    names the rest. links: (config_hash, seed) -> URL of the run. The best of each column is marked, see `best_cells`.
    """
    groups = frame.groupby("config_hash", sort=False)
    first = groups[[*settings]].first()
    varied = [name for name in settings if name in ALWAYS or first[name].nunique(dropna=False) > 1]
    texts = {name: [("" if pd.isna(v) else shown(v)) for v in first[name].astype(object)] for name in settings}
    means, halves = means_and_halves(frame, columns)
    lows, highs = recording_bounds(frame, columns)
    stopped = stopped_steps(frame)
    bold = best_cells(frame, columns, about.chance)
    seeds = groups["seed"].apply(list).to_dict()
    singles = {str(name): rows.to_numpy().T for name, rows in groups[[*columns]]}  # [columns, seeds]
    printed, settings_of = _Printed(columns), first.to_dict("records")
    lines = []
    for n, name in enumerate(map(str, first.index)):
        runs = [(seed, links.get((name, seed), "")) for seed in seeds[name]]
        early = f", stopped at step {stopped.iloc[n]}" if stopped.iloc[n] else ""
        who = Cell(f"ours ({len(runs)}){early}", title=name, links=tuple((str(s), url) for s, url in runs if url))
        spreads = zip(halves.to_numpy()[n], lows[n], highs[n], strict=True)
        of_columns = zip(means.to_numpy()[n], spreads, bold[n], singles[name], strict=True)
        cells = [_score_cell(mean, spread, best, values, name, runs) for mean, spread, best, values in of_columns]
        lines.append(Line("ours", (*(Cell(texts[key][n]) for key in varied), who, *cells)))
        setting = tuple(settings_of[n].get("stage" if key == "stages" else key) for key in SETTINGS)
        lines += printed.line(setting, {key: texts[key][n] for key in varied})
    same = [f"{SYMBOL_OF[name]} {texts[name][0]}" for name in settings if name not in varied and texts[name][0]]
    parts = [about.line(frame), f"all rows: {', '.join(same)}" if same else ""]
    return Grid(
        (*(SYMBOL_OF[name] for name in varied), "who (seeds)", *columns),
        tuple(lines),
        fixed=len(varied) + 1,
        chance=_chance_of(about, columns, len(varied) + 1),
        title="; ".join(part for part in parts if part),
        note=note,
        footnotes=printed.footnotes(),
    )


def stopped_steps(frame: pd.DataFrame) -> pd.Series:
    """The step at which each configuration of a long frame was stopped early, 0 if it was not; by config_hash."""
    groups = frame.groupby("config_hash", sort=False)
    if STOPPED_AT not in frame:
        return groups.size() * 0
    return groups[STOPPED_AT].max().fillna(0).astype(int)


def means_and_halves(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean over seeds and half of its 95% t-interval (NaN for one seed), a row for each config_hash in the order given.

    A configuration with a score missing in one seed has no mean: it would be that of other seeds.
    """
    values = frame.set_index("config_hash")[[*columns]]
    groups = values.groupby(level=0, sort=False)
    count = groups.size().to_numpy()[:, None]
    incomplete = (groups.count() < count).to_numpy()
    means = groups.mean().mask(incomplete)
    factor = np.where(count > 1, stats.t.ppf(0.975, np.maximum(count - 1, 1)) / np.sqrt(count), np.nan)
    return means, groups.std().mask(incomplete) * factor


def recording_bounds(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of the 95% interval over recordings, each [configurations, columns] in the order of `frame`.

    NaN where a configuration has several seeds, whose spread is its interval, and where none was recorded.
    """
    groups = frame["config_hash"]
    one = (groups.groupby(groups, sort=False).size() == 1).to_numpy()[:, None]
    ends = (frame.reindex(columns=[start + name for name in columns]) for start in BOUNDS)
    low, high = (values.groupby(groups, sort=False).first() for values in ends)
    return np.where(one, low.to_numpy(float), np.nan), np.where(one, high.to_numpy(float), np.nan)


def has_order(frame: pd.DataFrame) -> bool:
    """Whether zste/order can rank a long frame: results of an older version do not have it."""
    return "order" in frame and bool(frame["order"].notna().all())


def best_cells(frame: pd.DataFrame, columns: Sequence[str], chance: Mapping[str, float]) -> np.ndarray:
    """[configurations, columns] bool: the best of each column, if its whole 95% interval is better than chance.

    The interval is the one that the table shows: over seeds, or of one seed over recordings, else `NO_INTERVAL`. What
    was stopped early is never best. chance: column -> percent; a column without it is not compared with any.
    """
    means, halves = means_and_halves(frame, columns)
    lows, highs = recording_bounds(frame, columns)
    half = halves.fillna(NO_INTERVAL).to_numpy()
    lows = np.where(np.isnan(lows), means.to_numpy() - half, lows)
    highs = np.where(np.isnan(highs), means.to_numpy() + half, highs)
    guessed = np.array([chance.get(name, np.nan) for name in columns])
    better = np.where(np.isin(columns, LOWER_IS_BETTER), highs < guessed, lows > guessed) | np.isnan(guessed)
    found: np.ndarray = best_of_column(means.mask(stopped_steps(frame) > 0)) & better
    return found


def best_of_column(means: pd.DataFrame) -> np.ndarray:
    """[configurations, columns] bool: the best mean as shown, and its equals; none if all are equal."""
    rounded = means.round(1)
    signs = np.where(np.isin(means.columns, LOWER_IS_BETTER), -1, 1)
    best: np.ndarray = (rounded * signs == (rounded * signs).max()).to_numpy(copy=True)  # pandas 3 gives it read-only
    best[:, (rounded.nunique() < 2).to_numpy()] = False
    return best


def _score_cell(
    mean: float,
    spread: tuple[float, float, float],
    best: bool,
    values: np.ndarray,
    name: str,
    runs: Sequence[tuple[int, str]],
) -> Cell:
    half, low, high = spread
    text = "n/a" if np.isnan(mean) else f"{mean:.1f}" if np.isnan(half) else f"{mean:.1f} ± {half:.1f}"
    seeds = ", ".join(f"seed {seed}: {value:.2f}" for (seed, _), value in zip(runs, values, strict=True))
    told = "" if np.isnan(low) else f", 95% interval over recordings {low:.1f} to {high:.1f}"
    return Cell(
        text,
        interval="" if np.isnan(low) else f"[{low:.1f}, {high:.1f}]",
        best=best,
        title=f"{name} {seeds}{told}",
        links=(("", runs[0][1]),) if runs[0][1] else (),
    )


def _chance_of(about: About, columns: Sequence[str], fixed: int) -> tuple[str, ...]:
    known = [f"{about.chance[name]:.3g}" if name in about.chance else "" for name in columns]
    return ("chance", *[""] * (fixed - 1), *known) if any(known) else ()


def _mark(n: int) -> str:
    return MARKS[n % len(MARKS)] * (1 + n // len(MARKS))


class _Printed:
    """The rows of Table IV, each shown once, under the first of ours with its setting."""

    def __init__(self, columns: Sequence[str]) -> None:
        table = published().query("table == 'IV'")
        self._rows = {setting: rows.set_index("metric") for setting, rows in table.groupby(SETTINGS)}
        self._columns = columns
        # The note that most numbers have comes first, so that it has the dagger whichever rows are shown.
        notes = (
            table["note"]
            .dropna()
            .str.split("; ")
            .explode()
            .value_counts(sort=False)
            .sort_values(ascending=False, kind="stable")
        )
        self._marks = {str(text): _mark(n) for n, text in enumerate(notes.index)}
        self._used: set[str] = set()

    def footnotes(self) -> tuple[tuple[str, str], ...]:
        """(mark, text) of what the lines so far refer to."""
        return tuple((mark, text) for text, mark in self._marks.items() if text in self._used)

    def line(self, setting: tuple[object, ...], texts: Mapping[str, str]) -> list[Line]:
        rows = self._rows.pop(setting, None)
        if rows is None or not set(self._columns) & set(rows.index):
            return []
        own = {**dict.fromkeys(texts, ""), **{key: texts[key] for key in (*ALWAYS, "beta") if key in texts}}
        own |= {"batch_size": PAPER_BATCH} if "batch_size" in own else {}
        cells = [self._cell(rows, column) for column in self._columns]
        return [Line("paper", (*map(Cell, own.values()), Cell("paper"), *cells))]

    def _cell(self, rows: pd.DataFrame, column: str) -> Cell:
        if column not in rows.index:
            return Cell("")
        row = rows.loc[column]
        notes: list[str] = [] if pd.isna(row["note"]) else str(row["note"]).split("; ")
        self._used.update(notes)
        return Cell(f"{row['value']:.2f}", marks="".join(self._marks[text] for text in notes))
