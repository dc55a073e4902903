"""The picture of a sweep's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tclap.axes import AXES, COEFFICIENTS, shown
from tclap.report.grid import LOWER_IS_BETTER, About, best_of_column, means_and_halves, stopped_steps

MOST_ROWS = 40
AXIS_OF = {axis.column: axis for axis in AXES}
# Grey is chance, so that a column in which nobody hears anything looks empty, not wrong.
COLOURS = LinearSegmentedColormap.from_list("chance", ["#c8664a", "#eceef1", "#2f7fb5", "#0b3c5d"])
CHANCE_AT = 1 / 3


def table_picture(frame: pd.DataFrame, columns: Sequence[str], about: About, path: Path) -> None:
    """A heat map of the means over seeds [percent]: a row for each configuration, a column for each score.

    A colour says how far a score lies above its chance level (grey), towards 100 (dark blue), or below it (red). With
    more than `MOST_ROWS` configurations it shows those with the best zste/temporal.
    """
    means, _ = means_and_halves(frame, columns)
    stopped = stopped_steps(frame)
    best = best_of_column(means.mask(stopped > 0))
    early = [f"  (stopped at {step})" if step else "" for step in stopped]
    names = np.array([name + text for name, text in zip(_row_names(frame), early, strict=True)])
    kept = np.arange(len(means))
    if len(means) > MOST_ROWS:
        temporal = means_and_halves(frame, ["temporal"])[0]["temporal"] if "temporal" in frame else means.mean(axis=1)
        kept = np.sort(np.argsort(-temporal.to_numpy(), kind="stable")[:MOST_ROWS])
    values = means.to_numpy()[kept]
    chance = np.array([about.chance.get(name, 0.0) for name in columns])
    figure, axes = plt.subplots(figsize=(4 + 0.66 * len(columns), 1.6 + 0.36 * len(kept)), layout="constrained")
    shades = _shades(values, chance, columns)
    axes.imshow(shades, cmap=COLOURS, vmin=0, vmax=1, aspect="auto")
    heads = [
        name.removeprefix("order/") + (f"\nchance {about.chance[name]:.3g}" if name in about.chance else "")
        for name in columns
    ]
    axes.set_xticks(range(len(columns)), heads, fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(kept)), names[kept], fontsize=9)
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column,
            row,
            "n/a" if np.isnan(value) else f"{value:.0f}",
            ha="center",
            va="center",
            fontsize=9,
            weight="bold" if best[kept[row], column] else "normal",
            color="white" if shades[row, column] > 0.55 else "#1d2430",
        )
    some = f"the {MOST_ROWS} best of {len(means)} configurations; " if len(kept) < len(means) else ""
    axes.set_title(f"ZSTE, percent: {some}{about.line(frame)}\ngrey is chance, bold the best of a column", pad=10)
    _save(figure, path)


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


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
