"""The table of a sweep: one line for each configuration and seed as csv; means beside the paper's as md and html."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tclap.config import Configuration, config_hash
from tclap.evaluation.statistics import t_half_width
from tclap.evaluation.zste import COLUMNS, summary
from tclap.places import write_atomically
from tclap.report.plots import table_picture
from tclap.report.published import table4_rows
from tclap.sweep.ledger import Result

SHOWN = [*COLUMNS, "3A_order"]
ROWS = "rows.json"
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
    """The long frame of everything that is done, in the order given (see `long_frame`)."""
    return long_frame(
        (configuration, seed, _metrics(result))
        for configuration in configurations
        for (name, seed), result in results.items()
        if name == config_hash(configuration)
    )


def long_frame(rows: Iterable[tuple[Configuration, int, Mapping[str, float]]]) -> pd.DataFrame:
    """One row for each (configuration, seed, metrics by their MLflow names), in the order given; scores in percent.

    Columns: KEYS, `lr` only where it varies, `seed`, SHOWN, the other metrics by name, and `config_hash`. ZSTE metrics
    lose their "zste/". Stage-A runs have no row.
    """
    records = []
    for configuration, seed, metrics in rows:
        c, optimiser = configuration.coefficients, configuration.optimiser_b
        assert c is not None, "stage-A runs have no row"
        assert optimiser is not None, "stage-A runs have no row"
        settings = [configuration.stages, c.alpha_st, c.alpha_ct, c.alpha_so, c.alpha_co, c.beta]
        named = dict(zip(KEYS, [*settings, configuration.batch_size], strict=True))
        scores = {name.removeprefix("zste/"): value for name, value in metrics.items()}
        records.append({**named, "lr": optimiser.lr, "seed": seed, **scores, "config_hash": config_hash(configuration)})
    ends = [*KEYS, "lr", "seed", *SHOWN, "config_hash"]
    others = sorted({name for record in records for name in record} - set(ends))
    frame = pd.DataFrame(records, columns=[*ends[:-1], *others, "config_hash"])
    return frame.drop(columns="lr") if frame["lr"].nunique() < 2 else frame


def setting_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a long frame that are settings; together they tell its configurations apart."""
    return [*KEYS, "lr"] if "lr" in frame else list(KEYS)


def _metrics(result: Result) -> dict[str, float]:
    zste = {**summary(result.scores), **{name: score.value for name, score in result.scores.items()}}
    metrics = {f"zste/{name}": value for name, value in zste.items()}
    for benchmark, scores in result.retrieval.items():
        metrics |= {f"retrieval/{benchmark}/{name}": score.value for name, score in scores.items()}
    return metrics


def shown_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Text cells: a row for each configuration, and the paper's under it where Table IV has one."""
    paper = table4_rows().to_dict("index")
    settings = setting_columns(frame)
    rows = []
    for key, seeds in frame.groupby(settings, sort=False):
        setting, others = key[: len(KEYS) - 1], key[len(KEYS) - 1 :]  # others: batch size, and lr where it varies
        stages, *numbers = setting
        name = [stages, *(f"{number:g}" for number in numbers)]
        means = [mean_and_interval(seeds[column]) for column in SHOWN]
        rows.append([*name, *(f"{other:g}" for other in others), f"ours ({len(seeds)})", *means])
        if setting in paper:
            printed = paper[setting]
            cells = [f"{printed[c]:.2f}" + "†" * (c == "5A") if c in printed else "" for c in SHOWN]
            rows.append([*name, "256", *[""] * (len(others) - 1), "*paper*", *cells])
    return pd.DataFrame(rows, columns=[*settings, "who (seeds)", *SHOWN])


def write_tables(frame: pd.DataFrame, stem: Path, warning: str = "") -> list[Path]:
    """Write `stem`.csv, .md, .html and .png, with `warning` before the note; returns their paths in that order."""
    note = warning + NOTE
    paths = [stem.with_suffix(suffix) for suffix in (".csv", ".md", ".html", ".png")]
    shown = shown_frame(frame)
    settings = setting_columns(frame)
    write_atomically(paths[0], frame[[*settings, "seed", *SHOWN]].to_csv(index=False, lineterminator="\n"))
    write_atomically(paths[1], markdown(shown, note))
    write_atomically(paths[2], html_page(stem.name, shown.replace({"*paper*": "paper"}), note))
    table_picture(frame, settings, SHOWN, paths[3])
    return paths


def write_rows(frame: pd.DataFrame, table: str, objectives: Sequence[str], folder: Path) -> Path:
    """Write what a sweep's trial runs do not say of themselves, for `tclap report` to rebuild its files from MLflow.

    table: the stem of its table's files; objectives: what a search maximised.
    """
    rows = [[name, int(seed)] for name, seed in zip(frame["config_hash"], frame["seed"], strict=True)]
    facts = {"table": table, "objectives": list(objectives), "rows": rows}
    write_atomically(folder / ROWS, json.dumps(facts))
    return folder / ROWS


def markdown(shown: pd.DataFrame, note: str) -> str:
    """A table of text cells with `note` under it."""
    return f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n{note}\n"


def html_page(title: str, shown: pd.DataFrame, note: str) -> str:
    """The same as a page that needs nothing else."""
    body = shown.to_html(index=False, border=0)
    style = "body{font:14px sans-serif}td,th{padding:3px 8px;text-align:right}tr:nth-child(even){color:#666}"
    return f"<!doctype html><meta charset='utf-8'><title>{title}</title><style>{style}</style>{body}<p>{note}</p>"


def mean_and_interval(values: pd.Series) -> str:
    """ "52.1 ± 3.4": the mean with half of its 95% t-interval, which one value alone does not have."""
    mean, half = float(values.mean()), t_half_width(values.to_numpy())
    return f"{mean:.1f} ± {half:.1f}" if np.isfinite(half) else f"{mean:.1f}"
