"""The table of a sweep: one line for each configuration and seed as csv; means beside the paper's as md and html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from tclap.config import Configuration, config_hash
from tclap.evaluation.zste import COLUMNS
from tclap.report.plots import table_picture
from tclap.report.published import table4_rows
from tclap.storage import Result, write_atomically

SHOWN = [*COLUMNS, "3A_order"]
KEYS = ["stage", "alpha_st", "alpha_ct", "alpha_so", "alpha_co", "beta", "batch_size"]
NOTE = (
    "Percent. Ours: mean over seeds, ± half of its 95% t-interval where there are several. 3A_order: forward or "
    "reversed, chance 50: the honest measure of order. Rows named *paper* are Table IV as printed (msclap, ESC-50, "
    "batch 256); its 5A lies below what a random model gets under half credit, so it is not the same score as ours "
    "(marked †)."
)


def untrained_warning(weights: str | None) -> str:
    """What a table says first where the base has random weights; else nothing."""
    return "**The base is untrained** (`--weights random`): these scores mean nothing. " if weights == "random" else ""


def result_frame(configurations: Sequence[Configuration], results: Mapping[tuple[str, int], Result]) -> pd.DataFrame:
    """One row for each configuration and seed that is done, in the order given; scores in percent."""
    rows = []
    for configuration in configurations:
        c = configuration.coefficients
        assert c is not None, "stage-A runs have no row"
        for (name, seed), result in results.items():
            if name == config_hash(configuration):
                settings = [configuration.stages, c.alpha_st, c.alpha_ct, c.alpha_so, c.alpha_co, c.beta]
                scores = [result.scores[column].value for column in SHOWN]
                rows.append([*settings, configuration.batch_size, seed, *scores])
    return pd.DataFrame(rows, columns=[*KEYS, "seed", *SHOWN])


def shown_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Text cells: a row for each configuration, and the paper's under it where Table IV has one."""
    paper = table4_rows().to_dict("index")
    rows = []
    for key, seeds in frame.groupby(KEYS, sort=False):
        stages, *numbers, batch_size = key
        name = [stages, *(f"{number:g}" for number in numbers), str(batch_size)]
        rows.append([*name, f"ours ({len(seeds)})", *(_mean_and_interval(seeds[column]) for column in SHOWN)])
        setting = (stages, *numbers)
        if setting in paper:
            printed = paper[setting]
            cells = [f"{printed[c]:.2f}" + "†" * (c == "5A") if c in printed else "" for c in SHOWN]
            rows.append([*name[:-1], "256", "*paper*", *cells])
    return pd.DataFrame(rows, columns=[*KEYS, "who (seeds)", *SHOWN])


def write_tables(frame: pd.DataFrame, stem: Path, warning: str = "") -> list[Path]:
    """Write `stem`.csv, .md, .html and .png, with `warning` before the note; returns their paths in that order."""
    note = warning + NOTE
    paths = [stem.with_suffix(suffix) for suffix in (".csv", ".md", ".html", ".png")]
    shown = shown_frame(frame)
    write_atomically(paths[0], frame.to_csv(index=False, lineterminator="\n"))
    write_atomically(paths[1], f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n{note}\n")
    body = shown.replace({"*paper*": "paper"}).to_html(index=False, border=0)
    style = "body{font:14px sans-serif}td,th{padding:3px 8px;text-align:right}tr:nth-child(even){color:#666}"
    page = f"<!doctype html><meta charset='utf-8'><title>{stem.name}</title><style>{style}</style>{body}<p>{note}</p>"
    write_atomically(paths[2], page)
    table_picture(frame, KEYS, SHOWN, paths[3])
    return paths


def _mean_and_interval(values: pd.Series) -> str:
    mean = float(values.mean())
    if len(values) < 2:
        return f"{mean:.1f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{mean:.1f} ± {half:.1f}" if np.isfinite(half) else f"{mean:.1f}"
