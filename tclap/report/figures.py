"""Figures of a sweep's end: the Pareto front, accuracy over the change point, order by pairs of classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from plotly import graph_objects as go

from tclap.report.curves import LAYOUT, lines_figure
from tclap.report.grid import means_and_halves
from tclap.report.leaderboard import INTERVAL

CHANGE = r"order/change_(\d*\.?\d+)"  # order/moved at one place of the change, as a fraction of the window
BIGGEST = 36  # pixels of a marker
MOST_NAMES = 12  # that hovering shows


def pareto_figure(
    ranked: pd.DataFrame, objectives: tuple[str, str], labels: Mapping[str, str], stopped: Collection[str] = ()
) -> go.Figure:
    """A ranking's two objectives against each other, with intervals over seeds; equal points are one, as big as many.

    ranked: see `leaderboard.rank`; labels: config_hash -> name; stopped: config_hash of what was stopped early.
    """
    x, y = objectives
    points = ranked.dropna(subset=[x, y]).assign(name=lambda frame: frame["config_hash"].map(labels))
    points = points.assign(at_x=points[x].round(2), at_y=points[y].round(2))
    early = points["config_hash"].isin(list(stopped))
    kinds = (
        ("stopped early", "#9aa5b4", "circle-open", early),
        ("other", "#4b5a6b", "circle", ~early & ~points["front"]),
        ("front", "#d1603d", "circle", points["front"]),
    )
    figure = go.Figure()
    for name, colour, symbol, chosen in kinds:
        spots = [
            (*spot, _size(len(rows)), _who(rows["name"]), rows[x + INTERVAL].iloc[0], rows[y + INTERVAL].iloc[0])
            for spot, rows in points[chosen].groupby(["at_x", "at_y"])
        ]
        if not spots:
            continue
        xs, ys, sizes, names, x_half, y_half = (list(column) for column in zip(*spots, strict=True))
        figure.add_scatter(
            x=xs,
            y=ys,
            mode="markers",
            name=name,
            hovertext=names,
            marker={"color": colour, "symbol": symbol, "size": sizes, "opacity": 0.8},
            error_x=_bars(x_half, colour),
            error_y=_bars(y_half, colour),
        )
    title = f"{y} against {x}; the bigger, the more configurations at one point"
    figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, height=520, **LAYOUT)
    return figure


def _bars(halves: Sequence[float], colour: str) -> dict[str, Any]:
    """Error bars; none at all where nothing has an interval, since bars without a length are drawn as dashes."""
    known = np.nan_to_num(halves)
    return {"array": known.tolist(), "thickness": 1, "color": colour, "visible": bool(known.any())}


def _size(count: int) -> float:
    """Pixels across: as large an area for each configuration, up to a size that hides its neighbours."""
    return float(min(9 * np.sqrt(count), BIGGEST))


def _who(names: pd.Series) -> str:
    """What shows on hovering: how many there are at a point, and which."""
    lines = [f"{len(names)} configurations", *names.head(MOST_NAMES)] if len(names) > 1 else [*names]
    return "<br>".join([*lines, f"and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else lines)


def change_lines(frame: pd.DataFrame, labels: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """Accuracy of order over where in the window the sound changes: name -> columns x, mean, low, high, in percent.

    Empty for a sweep that did not measure it.
    """
    found = frame.columns.to_series().str.extract(CHANGE, expand=False).dropna().astype(float).sort_values()
    if found.empty:
        return {}
    means, halves = means_and_halves(frame, list(found.index))
    return {
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


def change_figure(frame: pd.DataFrame, labels: Mapping[str, str]) -> go.Figure | None:
    """`change_lines` as a plot; None for a sweep that did not measure it."""
    lines = change_lines(frame, labels)
    axes = ("where the sound changes, as a fraction of the window", "forward or reversed, right [%]")
    return lines_figure(lines, axes, 50.0, "Order over the change point") if lines else None


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
