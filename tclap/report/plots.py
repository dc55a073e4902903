"""The picture of a sweep's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tclap.axes import AXIS_OF, shown
from tclap.config import COEFFICIENTS
from tclap.report.grid import LOWER_IS_BETTER, About, best_cells, has_order, means_and_halves, stopped_steps

MOST_ROWS = 40
# Grey is chance, so that a column in which nobody hears anything looks empty, not wrong.
COLOURS = LinearSegmentedColormap.from_list("chance", ["#c8664a", "#eceef1", "#2f7fb5", "#0b3c5d"])
CHANCE_AT = 1 / 3


def table_picture(frame: pd.DataFrame, columns: Sequence[str], about: About, path: Path) -> None:
    """Write `table_figure` as a png."""
    figure = table_figure(frame, columns, about)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def table_figure(frame: pd.DataFrame, columns: Sequence[str], about: About) -> Figure:
    """A heat map of the means over seeds [percent]: a row for each configuration, a column for each score.

    A colour says how far a score lies above its chance level (grey), towards 100 (dark blue), or below it (red). With
    more than `MOST_ROWS` configurations it shows the best of those that were not stopped early.
    """
    means, _ = means_and_halves(frame, columns)
    kept, which = _worth_showing(frame)
    best = best_cells(frame, columns, about.chance)[kept]
    early = [f"  (stopped at {step})" if step else "" for step in stopped_steps(frame)]
    names = np.array([name + text for name, text in zip(_row_names(frame), early, strict=True)])[kept].tolist()
    values = means.to_numpy()[kept]
    chance = np.array([about.chance.get(name, 0.0) for name in columns])
    shades = _shades(values, chance, columns)
    texts = [["n/a" if np.isnan(value) else f"{value:.0f}" for value in line] for line in values]
    if about.chance:  # a row of its own: beside the names of the columns there is no room
        names.insert(0, "chance")
        texts.insert(0, [_short(about.chance[name]) if name in about.chance else "" for name in columns])
        shades = np.vstack([np.full(len(columns), CHANCE_AT), shades])
        best = np.vstack([np.zeros(len(columns), bool), best])
    figure, axes = plt.subplots(figsize=(4 + 0.66 * len(columns), 1.6 + 0.36 * len(names)), layout="constrained")
    axes.imshow(shades, cmap=COLOURS, vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), [name.removeprefix("order/") for name in columns], fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.tick_params(length=0)
    for row, column in np.ndindex(shades.shape):
        axes.text(
            column,
            row,
            texts[row][column],
            ha="center",
            va="center",
            fontsize=9,
            weight="bold" if best[row, column] else "normal",
            color="white" if shades[row, column] > 0.55 else "#1d2430",
        )
    said = "grey is chance, bold the best of a column where it is better than chance"
    axes.set_title("\n".join(filter(None, (f"ZSTE, percent: {about.line(frame)}", which, said))), pad=10)
    return figure


def _worth_showing(frame: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Positions of the configurations to show, and in words which these are if they are not all.

    As in the leaderboard, what lacks seeds that others have comes after what has them.
    """
    stopped = stopped_steps(frame)
    if len(stopped) <= MOST_ROWS:
        return np.arange(len(stopped)), ""
    by = "order" if has_order(frame) else "temporal"
    mean = means_and_halves(frame, [by])[0][by].to_numpy()
    seeds = frame.groupby("config_hash", sort=False)["seed"].nunique().to_numpy()
    order = np.lexsort([np.nan_to_num(-mean, nan=np.inf), seeds < seeds.max()])
    ended = (stopped == 0).to_numpy()
    early = int((~ended).sum()) if ended.any() else 0
    kept = (order[ended[order]] if early else order)[:MOST_ROWS]
    without = f", without the {early} that {'was' if early == 1 else 'were'} stopped early" if early else ""
    return kept, f"the {len(kept)} best of {len(stopped)} configurations by zste/{by}, best first{without}"


def _short(chance: float) -> str:
    """At most four characters, so that neighbours never touch."""
    return "<0.1" if chance < 0.1 else f"{chance:.2g}" if chance < 10 else f"{chance:.0f}"


def _row_names(frame: pd.DataFrame) -> list[str]:
    """The settings of each configuration: α always, what else varies beside them."""
    first = frame.groupby("config_hash", sort=False).first()
    settings = [name for name in first if name in AXIS_OF]
    varied = [
        name for name in settings if name in ("stage", *COEFFICIENTS[:4]) or first[name].nunique(dropna=False) > 1
    ]
    lines = first[varied].astype(object).to_dict("records")
    return ["  ".join(_named(str(name), value) for name, value in line.items() if not pd.isna(value)) for line in lines]


def _named(name: str, value: object) -> str:
    return str(value).ljust(2) if name == "stage" else f"{AXIS_OF[name].symbol} {shown(value)}"


def _shades(values: np.ndarray, chance: np.ndarray, columns: Sequence[str]) -> np.ndarray:
    """[rows, columns] in 0..1: `CHANCE_AT` at chance, 1 at the best that there is."""
    lower = np.isin(columns, LOWER_IS_BETTER)
    values, chance = np.where(lower, 100 - values, values), np.where(lower, 100 - chance, chance)
    above = CHANCE_AT + (1 - CHANCE_AT) * (values - chance) / np.maximum(100 - chance, 1e-9)
    below = CHANCE_AT * (1 - np.minimum(chance - values, 50) / 50)  # a point or two below chance is chance, too
    shades: np.ndarray = np.where(values >= chance, above, below)
    return shades
