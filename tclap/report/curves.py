"""Scores by training step, with bands over seeds: the paper's Fig. 11, for any metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from plotly import graph_objects as go
from scipy import stats

MOST_CURVES = 10
MOST_MARKERS = 60  # on a line; more would be a thick line
COLOURS = ("#1f6f9f", "#d1603d", "#3b8f5b", "#8a5aa8", "#b8860b", "#4b5a6b", "#c2417c", "#2aa198", "#7f6a4d", "#5560c8")
LAYOUT: dict[str, Any] = {
    "template": "plotly_white",
    "font": {"family": "system-ui, DejaVu Sans, sans-serif", "size": 13},
    "margin": {"l": 60, "r": 20, "t": 50, "b": 50},
    "legend": {"orientation": "h", "y": -0.2, "yanchor": "top"},
}


def history_frame(histories: Mapping[tuple[str, int], Iterable[tuple[int, Mapping[str, float]]]]) -> pd.DataFrame:
    """(config_hash, seed) -> its (step, metrics by their MLflow names), as a long frame.

    Columns: config_hash, seed, step, then each metric; a metric that was not scored at a step is NaN.
    """
    rows = [
        {"config_hash": name, "seed": seed, "step": step, **metrics}
        for (name, seed), history in histories.items()
        for step, metrics in history
    ]
    frame = pd.DataFrame(
        rows, columns=list(dict.fromkeys(["config_hash", "seed", "step", *(k for r in rows for k in r)]))
    )
    return frame.sort_values(["config_hash", "seed", "step"], kind="stable").reset_index(drop=True)


def band(history: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean over seeds of one configuration's `metric` by step, with its 95% t-interval.

    Columns step, mean, low, high, seeds. Where a step has one seed alone, low and high are NaN.
    """
    known = history.dropna(subset=[metric])
    groups = known.groupby("step")[metric]
    table = pd.DataFrame({"mean": groups.mean(), "seeds": groups.count(), "sem": groups.sem()}).reset_index()
    half = table["sem"] * stats.t.ppf(0.975, np.maximum(table["seeds"] - 1, 1))
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)[["step", "mean", "low", "high", "seeds"]]


def curves_figure(
    history: pd.DataFrame, metric: str, labels: Mapping[str, str], chance: float | None = None, title: str = ""
) -> go.Figure:
    """A line for each configuration with the band over its seeds; of many, those with the best last value.

    history: see `history_frame`; labels: config_hash -> name, in the order of the legend.
    """
    bands = {name: band(history[history["config_hash"] == name], metric) for name in labels}
    bands = {name: table for name, table in bands.items() if len(table)}
    if not metric.startswith("train/"):  # a t-interval of few seeds knows nothing of percent
        bands = {name: table.assign(**table[["low", "high"]].clip(0, 100)) for name, table in bands.items()}
    return lines_figure(
        {labels[name]: table.rename(columns={"step": "x"}) for name, table in bands.items()},
        ("optimiser step", metric if metric.startswith("train/") else f"{metric} [%]"),
        chance,
        title or metric,
    )


def lines_figure(
    lines: Mapping[str, pd.DataFrame], axes: tuple[str, str], chance: float | None = None, title: str = ""
) -> go.Figure:
    """Lines with bands: name -> columns x, mean, low, high. Of many, the `MOST_CURVES` with the best last value."""
    names = sorted(lines, key=lambda name: -lines[name]["mean"].iloc[-1])[:MOST_CURVES]
    kept: Sequence[str] = [name for name in lines if name in names]
    figure = go.Figure()
    for name, colour in zip(kept, COLOURS, strict=False):
        table = lines[name]
        known = table.dropna(subset=["low", "high"])
        around = [*known["high"], *known["low"][::-1]]
        figure.add_scatter(
            x=[*known["x"], *known["x"][::-1]],
            y=around,
            fill="toself",
            mode="lines",
            fillcolor=colour,
            opacity=0.18,
            line={"width": 0},
            legendgroup=name,
            showlegend=False,
            hoverinfo="skip",
        )
        mode = "lines+markers" if len(table) <= MOST_MARKERS else "lines"
        figure.add_scatter(
            x=table["x"], y=table["mean"], name=name, legendgroup=name, mode=mode, line={"color": colour}
        )
    if chance is not None:
        figure.add_hline(y=chance, line={"dash": "dot", "color": "#8a94a3"}, annotation_text=f"chance {chance:.3g}")
    some = f" (the {len(kept)} best of {len(lines)})" if len(kept) < len(lines) else ""
    figure.update_layout(title=title + some, xaxis_title=axes[0], yaxis_title=axes[1], height=460, **LAYOUT)
    return figure
