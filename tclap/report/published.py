"""The paper's numbers (Tables II-V), from one data file, as printed, with its contradictions noted."""

from __future__ import annotations

import functools
from importlib.resources import files

import pandas as pd

SETTINGS = ["stages", "alpha_st", "alpha_ct", "alpha_so", "alpha_co", "beta"]


@functools.cache
def published() -> pd.DataFrame:
    """Columns table, model, SETTINGS, metric, value [percent], note; one line for each printed number."""
    with files("tclap.report").joinpath("published.csv").open() as file:
        return pd.read_csv(file, comment="#", dtype={"metric": str}, keep_default_na=True)


def table4_rows() -> pd.DataFrame:
    """Table IV, one row for each setting, indexed by SETTINGS, a column for each ZSTE column."""
    table = published().query("table == 'IV'")
    return table.pivot(index=SETTINGS, columns="metric", values="value")


def model_column(model: str) -> dict[str, float]:
    """Table V's column of an untrained baseline such as "CLAP": ZSTE column -> percent."""
    rows = published().query("table == 'V' and model == @model and stages.isna()")
    return dict(zip(rows["metric"], rows["value"], strict=True))
