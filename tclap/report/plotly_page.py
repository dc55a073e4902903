"""Figures on a page that needs no network: plotly's script stands in it once, whatever the number of figures."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from plotly import graph_objects as go
from plotly.offline import get_plotlyjs

from tclap.report.render import document

HEADINGS = {
    "pareto_front": "Pareto front",
    "param_importances": "Importances",
    "parallel_coordinate": "What was tried",
    "optimization_history": "Trial by trial",
}


def plot(figure: go.Figure) -> str:
    """A figure as a part of a page that `with_plotly` makes; it is as wide as the page."""
    inner = figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True})
    return f"<div class=plot>{inner}</div>"


def sections(figures: Mapping[str, Sequence[go.Figure]], notes: Sequence[str]) -> str:
    """Study plots under their headings, after what a reader must know of them."""
    parts = [f"<h3 id={name}>{HEADINGS[name]}</h3>" + "".join(map(plot, found)) for name, found in figures.items()]
    return "".join([*(f"<p class=note>{html.escape(note)}.</p>" for note in notes), *parts])


def with_plotly(title: str, body: str) -> str:
    """A page whose body holds figures."""
    return document(title, body, head=f"<script>{get_plotlyjs()}</script>")
