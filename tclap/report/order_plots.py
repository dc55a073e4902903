"""Two pictures of order: accuracy over the change point, and by pair of classes (see `tclap.evaluation.order`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd


def change_curve(curves: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Accuracy [percent] over where the change lies, a line with its 95% band for each name; written as an image.

    curves: name, such as a configuration's -> columns change (a share of the window), value, low, high, as
    `order.curve` gives them.
    """
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for name, points in curves.items():
        (line,) = axes.plot(points["change"], points["value"], marker="o", markersize=3, label=name)
        axes.fill_between(points["change"], points["low"], points["high"], alpha=0.15, color=line.get_color(), lw=0)
    axes.axhline(50, color="grey", lw=0.8, ls="--", label="chance")
    axes.set(
        xlabel="the change, as a share of the window",
        ylabel="order right, percent",
        xlim=(0, 1),
        ylim=(0, 102),
        title="Order over the change point",
    )
    axes.legend(fontsize="small", loc="lower left")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def pair_heat_map(square: pd.DataFrame, path: Path) -> None:
    """Order right [percent] for each ordered pair of classes: rows sound first, columns second; written as an image.

    square: as `order.by_pair` gives it; NaN (never heard) stays empty. Cells are numbered up to 20 classes.
    """
    names = [str(name) for name in square.columns]
    size = 2.5 + 0.42 * min(len(names), 30)
    figure, axes = plt.subplots(figsize=(size + 0.8, size), layout="constrained")
    values = square.to_numpy(float)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="RdYlGn", vmin=0, vmax=100)
    font = "small" if len(names) <= 20 else 5
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=font)
    axes.set_yticks(range(len(names)), names, fontsize=font)
    axes.set(xlabel="second", ylabel="first", title="Order right by pair of classes, percent (chance 50)")
    if len(names) <= 20:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize="x-small")
    figure.colorbar(image, ax=axes, shrink=0.8)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
