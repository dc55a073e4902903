"""Figures of a sweep's end: the Pareto front, accuracy over the change point, order by pairs of classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from plotly import graph_objects as go

from tclap.report.curves import LAYOUT, lines_figure
from tclap.report.grid import means_and_halves
from tclap.report.leaderboard import INTERVAL

CHANGE = r"order/change_(\d*\.?\d+)"  # order/moved at one place of the change, as a fraction of the window


def pareto_figure(ranked: pd.DataFrame, objectives: tuple[str, str], labels: Mapping[str, str]) -> go.Figure:
    """A ranking's two objectives against each other, with intervals over seeds; equal points are one, as big as many.

    ranked: see `leaderboard.rank`; labels: config_hash -> name.
    """
    x, y = objectives
    points = ranked.dropna(subset=[x, y]).assign(name=lambda frame: frame["config_hash"].map(labels))
    points = points.assign(at_x=points[x].round(2), at_y=points[y].round(2))
    figure = go.Figure()
    for on_front, name, colour in ((False, "other", "#9aa5b4"), (True, "front", "#d1603d")):
        spots = [
            (
                *spot,
                len(rows),
                "<br>".join(rows["name"].head(12)),
                rows[x + INTERVAL].iloc[0],
                rows[y + INTERVAL].iloc[0],
            )
            for spot, rows in points[points["front"] == on_front].groupby(["at_x", "at_y"])
        ]
        if not spots:
            continue
        xs, ys, counts, names, x_half, y_half = (list(column) for column in zip(*spots, strict=True))
        figure.add_scatter(
            x=xs,
            y=ys,
            mode="markers+text",
            name=name,
            text=[f"×{count}" if count > 1 else "" for count in counts],
            textposition="top center",
            hovertext=names,
            marker={"color": colour, "size": [9 + 5 * np.sqrt(count - 1) for count in counts], "opacity": 0.8},
            error_x={"array": np.nan_to_num(x_half).tolist(), "thickness": 1, "color": colour},
            error_y={"array": np.nan_to_num(y_half).tolist(), "thickness": 1, "color": colour},
        )
    figure.update_layout(
        title=f"{y} against {x}; ×n: n configurations at one point", xaxis_title=x, yaxis_title=y, height=520, **LAYOUT
    )
    return figure


def change_figure(frame: pd.DataFrame, labels: Mapping[str, str]) -> go.Figure | None:
    """Accuracy of order over where in the window the sound changes; None for a sweep that did not measure it."""
    found = frame.columns.to_series().str.extract(CHANGE, expand=False).dropna().astype(float).sort_values()
    if found.empty:
        return None
    means, halves = means_and_halves(frame, list(found.index))
    lines = {
        labels[name]: pd.DataFrame(
            {
                "x": found.to_numpy(),
                "mean": means.loc[name].to_numpy(),
                "low": (means.loc[name] - halves.loc[name]).to_numpy(),
                "high": (means.loc[name] + halves.loc[name]).to_numpy(),
            }
        )
        for name in means.index
    }
    axes = ("where the sound changes, as a fraction of the window", "forward or reversed, right [%]")
    return lines_figure(lines, axes, 50.0, "Order over the change point")


def pairs_figure(by_pair: pd.DataFrame, title: str) -> go.Figure:
    """Percent right by the class that comes first (rows) and the one that comes second (columns); grey is chance."""
    scale = [[0.0, "#c8664a"], [0.5, "#eceef1"], [1.0, "#0b3c5d"]]
    figure = go.Figure(
        go.Heatmap(
            z=by_pair.to_numpy(),
            x=list(by_pair.columns),
            y=list(by_pair.index),
            zmin=0,
            zmax=100,
            colorscale=scale,
            hovertemplate="%{y} before %{x}: %{z:.0f}%<extra></extra>",
            texttemplate="%{z:.0f}" if len(by_pair) <= 15 else None,
        )
    )
    figure.update_layout(title=title, xaxis_title="second", yaxis_title="first", **LAYOUT)
    figure.update_layout(height=max(380, 90 + 24 * len(by_pair)), yaxis={"autorange": "reversed"})
    return figure
