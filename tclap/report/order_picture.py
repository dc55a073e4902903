"""Order as one picture, for MLflow's artifacts: accuracy over the change point, and by pairs of classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tclap.report.figures import change_lines

MOST_LINES = 8
FEW_CLASSES = 15  # so few that each cell has room for its number
COLOURS = LinearSegmentedColormap.from_list("order", ["#c8664a", "#eceef1", "#0b3c5d"])  # grey is chance


def write_order_picture(
    frame: pd.DataFrame, labels: Mapping[str, str], by_pair: Mapping[str, pd.DataFrame], path: Path
) -> Path | None:
    """Write `order_figure` as a png; None, and no file, if there is nothing to show."""
    figure = order_figure(frame, labels, by_pair)
    if figure is None:
        return None
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path


def order_figure(frame: pd.DataFrame, labels: Mapping[str, str], by_pair: Mapping[str, pd.DataFrame]) -> Figure | None:
    """A panel for the curve, and one for each of `by_pair`; None for a sweep that did not measure order.

    labels: config_hash -> name. by_pair: title -> percent right, first × second class. Of many configurations the curve
    has the best `MOST_LINES` by their mean over the change points.
    """
    lines = change_lines(frame, labels)
    panels = bool(lines) + len(by_pair)
    if not panels:
        return None
    figure, (axes,) = plt.subplots(1, panels, figsize=(6.4 * panels, 5.6), squeeze=False, layout="constrained")
    left = list(axes)
    if lines:
        _draw_curves(left.pop(0), lines)
    for (title, table), own in zip(by_pair.items(), left, strict=True):
        _draw_pairs(own, table, title)
    return figure


def _draw_curves(axes: Axes, lines: Mapping[str, pd.DataFrame]) -> None:
    best = sorted(lines, key=lambda name: -lines[name]["mean"].mean())[:MOST_LINES]
    kept = [name for name in lines if name in best]
    for name in kept:
        table = lines[name]
        (line,) = axes.plot(table["x"], table["mean"], marker="o", markersize=3, label=name)
        axes.fill_between(table["x"], table["low"], table["high"], color=line.get_color(), alpha=0.15, linewidth=0)
    axes.axhline(50, linestyle=":", color="#8a94a3")
    axes.set_ylim(0, 102)
    axes.set_xlabel("where the sound changes, as a fraction of the window")
    axes.set_ylabel("forward or reversed, right [%]; chance 50")
    some = f" (the {len(kept)} best of {len(lines)})" if len(kept) < len(lines) else ""
    axes.set_title(f"Order over the change point{some}", fontsize=10)
    axes.legend(fontsize=7, loc="lower left")


def _draw_pairs(axes: Axes, table: pd.DataFrame, title: str) -> None:
    axes.imshow(table.to_numpy(float), cmap=COLOURS, vmin=0, vmax=100)
    size = 8 if len(table) <= FEW_CLASSES else 5
    axes.set_xticks(range(len(table.columns)), list(table.columns), rotation=90, fontsize=size)
    axes.set_yticks(range(len(table)), list(table.index), fontsize=size)
    axes.set_xlabel("second")
    axes.set_ylabel("first")
    axes.set_title(title, fontsize=9, wrap=True)
    if len(table) <= FEW_CLASSES:
        for (row, column), value in np.ndenumerate(table.to_numpy(float)):
            if not np.isnan(value):
                colour = "white" if value > 80 else "#1d2430"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour)
