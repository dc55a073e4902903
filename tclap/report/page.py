"""`report.html`: a sweep on one page that needs no server and no network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tclap.evaluation.details import TASK
from tclap.places import write_atomically
from tclap.report.behind import Behind
from tclap.report.curves import curves_figure
from tclap.report.figures import change_figure, pairs_figure
from tclap.report.grid import SYMBOL_OF, About, Grid, spread, text_grid
from tclap.report.leaderboard import NOTE, best_line, rank, ranking_cells
from tclap.report.mistakes import mistakes_html
from tclap.report.plotly_page import plot, sections, with_plotly
from tclap.report.render import html_table
from tclap.report.study_plots import study_plots
from tclap.report.tables import grids_of, hash_labels, setting_columns
from tclap.sweep.curve import SHOWN
from tclap.sweep.stopping import Guard

LOSS = "train/loss"


@dataclass(frozen=True)
class Page:
    """What a report shows; what is not known is left out."""

    name: str
    frame: pd.DataFrame  # long, see `tables.long_frame`; it may be empty while nothing is done
    objectives: tuple[str, ...]
    about: About = field(default_factory=About)
    status: str = ""  # "done" or "5 of 8 configurations done, 12 min left"
    command: str = ""  # that goes on
    warning: str = ""
    guards: tuple[Guard, ...] = ()
    vary_draws: bool = False  # the configurations' own: what their spread over seeds stands for
    links: Mapping[tuple[str, int], str] = field(default_factory=dict)  # (config_hash, seed) -> URL of the run
    grids: Sequence[Grid] = ()  # what `grids_of` makes of all this, if it is made already
    history: pd.DataFrame | None = None  # see `curves.history_frame`
    behind: Behind = field(default_factory=Behind)  # the best configuration's scores


def write_page(page: Page, path: Path) -> Path:
    """Write the report; returns `path`. Raises InputError for an unknown objective or guard."""
    write_atomically(path, page_html(page))
    return path


def page_html(page: Page) -> str:
    """The whole report as one html text."""
    ranked = rank(page.frame, page.objectives[0], page.guards, page.objectives) if len(page.frame) else None
    parts = (
        [] if ranked is None else [("leaderboard", "Leaderboard", _leaderboard(page, ranked)), *_parts(page, ranked)]
    )
    links = "".join(f"<a href='#{key}'>{heading}</a>" for key, heading, _ in parts)
    body = "".join(f"<section><h2 id={key}>{heading}</h2>{content}</section>" for key, heading, content in parts)
    return with_plotly(f"{page.name}: report", f"{_head(page, ranked)}<nav>{links}</nav>{body}")


def _head(page: Page, ranked: pd.DataFrame | None) -> str:
    frame = page.frame
    best = going_on = warning = nothing = ""
    facts = [("status", page.status or "done"), ("model", page.about.model), ("data", page.about.data)]
    if ranked is None:
        nothing = "<p class=lead>Nothing is done yet; this page is written again as jobs end.</p>"
    else:
        best = html.escape(best_line(ranked, page.objectives[0], hash_labels(frame)))
        best = f"<p>Best: <strong>{best}</strong></p>"
        facts.append(("configurations", str(frame["config_hash"].nunique())))
        facts.append(("seeds", ", ".join(str(seed) for seed in sorted(frame["seed"].unique()))))
    cards = "".join(f"<div><span>{name}</span><b>{html.escape(value)}</b></div>" for name, value in facts if value)
    if page.warning:
        warning = f"<p class=warning>{html.escape(page.warning.replace('*', ''))}</p>"
    if page.command:
        going_on = f"<p class=note>To go on: <code>{html.escape(page.command)}</code></p>"
    return f"<h1>{html.escape(page.name)}</h1>{warning}<div class=facts>{cards}</div>{best}{going_on}{nothing}"


def _leaderboard(page: Page, ranked: pd.DataFrame) -> str:
    note = NOTE.format(objectives=" and ".join(page.objectives), spread=spread(page.vary_draws))
    cells = ranking_cells(ranked).rename(columns=SYMBOL_OF)
    return html_table(text_grid(cells, note=note, fixed=1 + len(setting_columns(ranked))))


def _parts(page: Page, ranked: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(id, heading, content) of every part but the leaderboard, in order."""
    labels = hash_labels(page.frame)
    grids = page.grids or grids_of(page.frame, page.about, page.links, page.warning)
    tables = "".join(map(html_table, grids))
    parts = [("table", "Beside the paper", tables)]
    history = page.history
    if history is not None and len(history):
        drawn = [
            curves_figure(history, name, labels, page.about.chance.get(name.removeprefix("zste/")))
            for name in (*SHOWN, LOSS)
            if name in history
        ]
        note = "<p class=note>Mean over seeds; the band is its 95% t-interval, which one seed alone does not have.</p>"
        parts.append(("curves", "Curves", "".join(map(plot, drawn)) + note))
    studied = study_plots(page.frame, page.objectives, ranked)
    parts.append(("settings", "Which settings matter", sections(studied.figures, studied.notes)))
    parts += _order_parts(page, labels)
    behind = page.behind
    if behind.mistakes:
        lead = f"<p class=lead>What {html.escape(behind.mistakes_of)} gets most wrong, one for each pair of classes: "
        lead += "the caption that fits, the one that it chose, and their cosines.</p>"
        parts.append(("mistakes", "Hear the mistakes", lead + mistakes_html(behind.mistakes, behind.licence)))
    elif behind.mistakes_of:
        items = page.about.items.get(TASK)
        among = f"{items} items of {TASK}" if items else f"the items of {TASK}"
        none = f"<p class=lead>Nothing wrong among {among}: {html.escape(behind.mistakes_of)}.</p>"
        parts.append(("mistakes", "Hear the mistakes", none))
    return parts


def _order_parts(page: Page, labels: Mapping[str, str]) -> list[tuple[str, str, str]]:
    parts = []
    change = change_figure(page.frame, labels)
    if change is not None:
        parts.append(("change", "Accuracy over the change point", plot(change)))
    if page.behind.by_pair:
        heat = "".join(plot(pairs_figure(table, title)) for title, table in page.behind.by_pair.items())
        parts.append(("pairs", "Order by pairs of classes", heat + _by_class(page.behind)))
    return parts


def _by_class(behind: Behind) -> str:
    """A table of order by class, and how many items stand behind a cell of the heat map above it."""
    table = behind.by_class
    if table is None or not len(table):  # of results from before it was kept
        return ""
    cells = sum(int(square.notna().to_numpy().sum()) for square in behind.by_pair.values())
    items = table["n"].sum() / 2  # each item holds two classes
    note = f"Worst first. A cell of the heat map above rests on {items / cells:.2g} items, a class on n of them."
    shown = table.assign(right=table["right"].map("{:.1f}".format)).rename(columns={"right": "right [%]"})
    return html_table(text_grid(shown, "By class: order/moved over the items that hold it", note, fixed=1))
