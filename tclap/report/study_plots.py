"""Optuna's own plots of a sweep, as pages that need no network: the Pareto front, importances, what was tried.

The study is made anew from the long frame, so that it shows what MLflow holds, however the configurations were chosen.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator

from tclap.places import write_atomically
from tclap.report.leaderboard import column_of
from tclap.report.tables import setting_columns

log = logging.getLogger(__name__)


def write_study_plots(frame: pd.DataFrame, objectives: Sequence[str], folder: Path) -> list[Path]:
    """Write pareto_front, param_importances, parallel_coordinate and optimization_history (.html) into `folder`.

    One trial for each configuration, in the order of `frame`, with each objective's mean over seeds. The front needs
    two or three objectives, importances need a setting and an objective that vary; what cannot be drawn is left out,
    and the log says why. Returns the paths. Raises InputError for an unknown metric.
    """
    means = frame.groupby("config_hash", sort=False)[[column_of(frame, name) for name in objectives]].mean()
    means.columns = pd.Index(objectives)
    names = setting_columns(frame)
    settings = frame.groupby("config_hash", sort=False)[names].first()
    complete = means.notna().all(axis=1)
    means, settings = means[complete], settings[complete]
    if means.empty:
        log.warning("no study plots: no configuration has %s", " and ".join(objectives))
        return []
    distributions = {name: _distribution(name, settings[name]) for name in names}
    varying = [name for name in names if settings[name].nunique() > 1]
    studies = {name: _study(settings, means[[name]], distributions) for name in objectives}
    pages: dict[str, list[Any]] = {}
    if len(objectives) in (2, 3):
        pages["pareto_front"] = [optuna.visualization.plot_pareto_front(_study(settings, means, distributions))]
    elif len(objectives) > 3:
        log.warning("no pareto_front plot: it can show two or three objectives, not %d", len(objectives))
    if not varying:
        log.warning("no param_importances plot: no setting varies over %d configuration(s)", len(means))
    explained = [name for name in objectives if varying and means[name].nunique() > 1]
    for name in [n for n in objectives if varying and n not in explained]:
        log.warning("no importances for %s: it is %g for every configuration", name, means[name].iloc[0])
    if explained:
        pages["param_importances"] = [_importances(studies[name], name, varying) for name in explained]
    pages["parallel_coordinate"] = [
        optuna.visualization.plot_parallel_coordinate(study, target_name=name) for name, study in studies.items()
    ]
    pages["optimization_history"] = [
        optuna.visualization.plot_optimization_history(study, target_name=name) for name, study in studies.items()
    ]
    return [_write_page(folder / f"{name}.html", figures) for name, figures in pages.items()]


def _study(
    settings: pd.DataFrame, means: pd.DataFrame, distributions: dict[str, BaseDistribution]
) -> optuna.study.Study:
    """A study in memory that maximises the columns of `means`, with a trial for each row."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would announce a study that nobody looks for
    try:
        study = optuna.create_study(directions=["maximize"] * means.shape[1])
    finally:
        optuna.logging.set_verbosity(verbosity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(means.columns.tolist())
    study.add_trials(
        optuna.create_trial(
            params={str(k): v for k, v in params.items()}, distributions=distributions, values=list(values)
        )
        for params, values in zip(settings.to_dict("records"), means.to_numpy().tolist(), strict=True)
    )
    return study


def _distribution(name: str, values: pd.Series) -> BaseDistribution:
    """Choices as categories; coefficients beyond 0 and 1, and learning rates, as numbers."""
    coefficient = name == "beta" or name.startswith("alpha_")
    if name == "lr" or (coefficient and not values.isin([0, 1]).all()):
        return FloatDistribution(float(values.min()), float(values.max()), log=name == "lr")
    return CategoricalDistribution(sorted(values.unique().tolist()))


def _importances(study: optuna.study.Study, objective: str, varying: list[str]) -> Any:
    # fANOVA shares out the variance over everything tried. Optuna's default, PED-ANOVA, asks what the best tenth have
    # in common, which among a few dozen 0/1 settings is mostly chance.
    evaluator = FanovaImportanceEvaluator(seed=0)
    figure = optuna.visualization.plot_param_importances(study, evaluator=evaluator, params=varying)
    return figure.update_layout(title=f"Importances for {objective}")


def _write_page(path: Path, figures: Sequence[Any]) -> Path:
    """All figures on one page; plotly's script is inside, since an artifact viewer may have no network."""
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=i == 0, div_id=f"{path.stem}-{i}")
        for i, figure in enumerate(figures)
    ]
    head = f"<!doctype html><meta charset='utf-8'><title>{path.stem}</title>"
    write_atomically(path, head + "".join(parts))
    return path
