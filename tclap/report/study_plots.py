"""What a search tells of its settings: their importances, what was tried, and the best so far; drawn with Optuna.

The study is made anew from the long frame, so that it shows what MLflow holds, however the configurations were chosen.
"""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from plotly import graph_objects as go

from tclap.axes import shown
from tclap.places import write_atomically
from tclap.report.curves import LAYOUT
from tclap.report.figures import pareto_figure
from tclap.report.grid import SYMBOL_OF, stopped_steps
from tclap.report.leaderboard import column_of, rank
from tclap.report.plotly_page import sections, with_plotly
from tclap.report.tables import hash_labels, setting_columns

log = logging.getLogger(__name__)
FEWEST_FOR_IMPORTANCES = 20
MOST_CHOICES = 12  # of a setting that is drawn as categories
MOST_PATHS = 300
MOST_TRIALS = 600  # that a figure shows: with more, neither a reader nor a forest of importances sees more


@dataclass(frozen=True)
class StudyPlots:
    """Figures by name, in order, and what a reader must know beside them."""

    figures: dict[str, list[go.Figure]]
    notes: tuple[str, ...]


def study_plots(frame: pd.DataFrame, objectives: Sequence[str], ranked: pd.DataFrame | None = None) -> StudyPlots:
    """The figures pareto_front, param_importances, parallel_coordinate and optimization_history of a long frame.

    One trial for each configuration, in the order of `frame`, with each objective's mean over seeds. The front needs
    two or three objectives; importances need `FEWEST_FOR_IMPORTANCES` configurations. Importances and paths need an
    objective that varies.
    What cannot be drawn is left out, and a note says why.
    ranked: the frame's ranking, if it is made already. Raises InputError for an unknown metric.
    """
    means = frame.groupby("config_hash", sort=False)[[column_of(frame, name) for name in objectives]].mean()
    means.columns = pd.Index(objectives)
    names = setting_columns(frame)
    settings = frame.groupby("config_hash", sort=False)[names].first().astype(object)
    complete, whole = means.notna().all(axis=1), stopped_steps(frame) == 0
    means, settings = means[complete & whole], settings[complete & whole]
    if means.empty:
        return StudyPlots({}, (f"no configuration has {' and '.join(objectives)}",))
    varying = [name for name in names if settings[name].nunique(dropna=False) > 1]
    notes = _moving_together(settings[varying])
    if not whole.all():
        where = "are on the Pareto front's picture alone" if len(objectives) == 2 else "are on no picture"
        notes.append(f"{(~whole).sum()} configurations that were stopped early {where}")
    if len(means) > MOST_TRIALS:
        kept = _spread(means)
        notes.append(
            f"{len(kept)} of {len(means)} configurations are drawn: spread evenly, and those that were the best so far"
        )
        means, settings = means.iloc[kept], settings.iloc[kept]
    studies = {name: _study(settings[varying], means[[name]]) for name in objectives}
    figures: dict[str, list[go.Figure]] = {}
    if len(objectives) == 2:
        ranked = rank(frame, objectives[0], (), objectives) if ranked is None else ranked
        early = [str(name) for name in whole.index[~whole]]
        figures["pareto_front"] = [pareto_figure(ranked, (objectives[0], objectives[1]), hash_labels(frame), early)]
    elif len(objectives) == 3:
        figures["pareto_front"] = [optuna.visualization.plot_pareto_front(_study(settings[varying], means))]
    elif len(objectives) > 3:
        notes.append(f"no Pareto front: it can show two or three objectives, not {len(objectives)}")
    drawn = [name for name in objectives if means[name].nunique() > 1]
    if len(means) < FEWEST_FOR_IMPORTANCES:
        notes.append(
            f"no importances: they need {FEWEST_FOR_IMPORTANCES} configurations to tell a setting from luck, "
            f"and there are {len(means)}"
        )
    if varying:
        ended = "" if whole.all() else " that ran to its end"
        notes += [
            f"no importances and no paths for {name}: it is {means[name].iloc[0]:g} for every configuration{ended}"
            for name in objectives
            if name not in drawn
        ]
    if drawn and varying and len(means) >= FEWEST_FOR_IMPORTANCES:
        figures["param_importances"] = [_importances(studies[name], name, varying) for name in drawn]
    if drawn and varying:
        figures["parallel_coordinate"] = [_parallel(settings[varying], means[name]) for name in drawn]
    figures["optimization_history"] = [
        _readable(optuna.visualization.plot_optimization_history(study, target_name=name), f"{name}, trial by trial")
        for name, study in studies.items()
    ]
    return StudyPlots(figures, tuple(notes))


def write_study_plots(frame: pd.DataFrame, objectives: Sequence[str], folder: Path) -> list[Path]:
    """Write `study.html`, one page with all of `study_plots` and one copy of plotly's script; returns its path.

    Nothing is written if there is nothing to draw; the log says why. Raises InputError for an unknown metric.
    """
    plots = study_plots(frame, objectives)
    for note in plots.notes:
        log.warning("study plots: %s", note)
    if not plots.figures:
        return []
    path = folder / "study.html"
    write_atomically(path, with_plotly("study", sections(plots.figures, plots.notes)))
    return [path]


def _moving_together(settings: pd.DataFrame) -> list[str]:
    """A caution for each two settings that tell each other: their effects cannot be told apart."""
    codes = settings.apply(lambda column: pd.factorize(column)[0])
    return [
        f"{SYMBOL_OF[one]} and {SYMBOL_OF[other]} move together in these configurations (in Table IV's rows, α_so and "
        "α_st do), so what looks like an effect of the one may be the other's"
        for one, other in itertools.combinations(map(str, settings), 2)
        if (codes[one] == codes[other]).all()
    ]


def _spread(means: pd.DataFrame) -> np.ndarray:
    """Positions of `MOST_TRIALS` rows, three of four spread evenly; the others were the best so far in a column."""
    best = np.flatnonzero((means.cummax() > means.cummax().shift(fill_value=-np.inf)).any(axis=1))
    fewer = MOST_TRIALS // 4
    return np.union1d(_evenly(np.arange(len(means)), MOST_TRIALS - fewer), _evenly(best, fewer))


def _evenly(positions: np.ndarray, n: int) -> np.ndarray:
    """n of them with the last one, or all if there are no more."""
    if len(positions) <= n:
        return positions
    return positions[np.linspace(len(positions) - 1, 0, n).astype(int)]


def _study(settings: pd.DataFrame, means: pd.DataFrame) -> optuna.study.Study:
    """A study in memory that maximises the columns of `means`, with a trial for each row.

    A setting that a configuration does not have (stage A's for stage B alone) is a category of its own.
    """
    distributions = {str(name): _distribution(str(name), settings[name]) for name in settings}
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
            params={
                str(k): v if isinstance(distributions[str(k)], FloatDistribution) else _category(v)
                for k, v in params.items()
            },
            distributions=distributions,
            values=list(values),
        )
        for params, values in zip(
            (settings.loc[name].to_dict() for name in settings.index), means.to_numpy().tolist(), strict=True
        )
    )
    return study


def _category(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) or value is None else shown(value)


def _is_category(values: pd.Series) -> bool:
    numbers = values.map(lambda value: isinstance(value, int | float) and not isinstance(value, bool)).all()
    return not numbers or values.isin([0, 1]).all()


def _distribution(name: str, values: pd.Series) -> BaseDistribution:
    """Words, and coefficients of 0 and 1, as categories; other numbers as such, rates by their logarithm."""
    if _is_category(values) or (name == "batch_size" and values.nunique() <= MOST_CHOICES):
        return CategoricalDistribution(
            sorted({_category(value) for value in values}, key=lambda v: (str(type(v)), v or 0))
        )
    low, high = float(values.min()), float(values.max())
    return FloatDistribution(low, high, log=low > 0 and high / low >= 10)


def _importances(study: optuna.study.Study, objective: str, varying: list[str]) -> go.Figure:
    # fANOVA shares out the variance over everything tried. Optuna's default, PED-ANOVA, asks what the best tenth have
    # in common, which among a few dozen 0/1 settings is mostly chance.
    # Its trees grow with the trials (15 s for 1000) unless their depth is bound; at 8 the shares stay the same to 0.01.
    evaluator = FanovaImportanceEvaluator(seed=0, max_depth=8)
    figure = optuna.visualization.plot_param_importances(study, evaluator=evaluator, params=varying)
    return _readable(figure, f"Importances for {objective}")


def _parallel(settings: pd.DataFrame, objective: pd.Series) -> go.Figure:
    """Every configuration as a path through its settings, coloured by its objective; equal paths are one thicker path.

    Numbers with many values are cut into five ranges. Of many configurations, the `MOST_PATHS` best.
    """
    some = f" (the {MOST_PATHS} best of {len(objective)})" if len(objective) > MOST_PATHS else ""
    objective = objective.sort_values(ascending=False, kind="stable").head(MOST_PATHS)
    settings = settings.loc[objective.index]
    columns = {str(name): _choices(settings[name]) for name in settings}
    # The axis of most values comes last, so that paths part late.
    order = sorted(columns, key=lambda name: columns[name].nunique())
    dimensions = [
        {
            "label": SYMBOL_OF[name],
            "values": columns[name].tolist(),
            "categoryorder": "array",
            "categoryarray": sorted(columns[name].unique(), key=_by_number),
        }
        for name in order
    ]
    figure = go.Figure(
        go.Parcats(
            dimensions=dimensions,
            line={
                "color": objective.tolist(),
                "colorscale": "Viridis",
                "shape": "hspline",
                "showscale": True,
                "colorbar": {"title": str(objective.name)},
            },
            hoveron="color",
            labelfont={"size": 15},
            tickfont={"size": 13},
        )
    )
    return _readable(figure, f"{objective.name}: every configuration through its settings{some}")


def _choices(values: pd.Series) -> pd.Series:
    if values.nunique() > MOST_CHOICES and not _is_category(values):
        return pd.cut(values.astype(float), 5, precision=3).astype(str)
    return values.map(shown)


def _by_number(text: str) -> tuple[float, str]:
    try:
        return float(text.strip("(").split(",")[0]), text
    except ValueError:
        return float("inf"), text


def _readable(figure: go.Figure, title: str) -> go.Figure:
    return figure.update_layout(**{**LAYOUT, "margin": {"l": 90, "r": 90, "t": 60, "b": 60}}, title=title, height=480)
