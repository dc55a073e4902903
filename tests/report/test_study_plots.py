import itertools
import logging
from pathlib import Path

import numpy as np
import optuna
import pytest

from tclap.errors import InputError
from tclap.report.study_plots import FEWEST_FOR_IMPORTANCES, study_plots, write_study_plots
from tests.report.conftest import Frame

ALL = ["pareto_front", "param_importances", "parallel_coordinate", "optimization_history"]
BOTH = ["zste/temporal", "zste/1"]


def grid(rates: int = 5) -> dict[tuple[float, float, float], list[float]]:
    """α_st decides everything; 4 configurations for each rate."""
    lrs = [1e-4 * 2**n for n in range(rates)]
    return {(st, ct, lr): [50 + 40 * st, 52 + 40 * st] for st, ct, lr in itertools.product((0, 1), (0, 1), lrs)}


def test_one_page_holds_every_plot_and_plotlys_script_once(frame_of: Frame, tmp_path: Path) -> None:
    (path,) = write_study_plots(frame_of(grid()), BOTH, tmp_path)
    assert path.name == "study.html"
    page = path.read_text()
    assert page.count("<script>/**\n* plotly.js v") == 1
    assert page.count("Plotly.newPlot(") >= 7
    assert "cdn.plot.ly/plotly" not in page
    assert path.stat().st_size < 7e6
    for heading in ALL:
        assert f"id={heading}" in page


def test_the_setting_that_decides_is_the_most_important(frame_of: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    plot = optuna.visualization.plot_param_importances

    def spy(study: optuna.Study, **options: object) -> object:
        found.append(optuna.importance.get_param_importances(study, **options))  # type: ignore[arg-type]
        return plot(study, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(optuna.visualization, "plot_param_importances", spy)
    study_plots(frame_of(grid()), BOTH)
    temporal, _ = found
    assert set(temporal) == {"alpha_st", "alpha_ct", "lr"}  # what does not vary has no importance
    assert next(iter(temporal)) == "alpha_st"
    assert temporal["alpha_st"] > 0.8


def test_importances_need_twenty_configurations(frame_of: Frame) -> None:
    few = study_plots(frame_of(grid(4)), BOTH)
    assert list(few.figures) == [name for name in ALL if name != "param_importances"]
    assert any(f"need {FEWEST_FOR_IMPORTANCES}" in note and "there are 16" in note for note in few.notes)
    assert list(study_plots(frame_of(grid(5)), BOTH).figures) == ALL


def test_settings_that_move_together_are_a_caution(frame_of: Frame) -> None:
    together = study_plots(frame_of({(0, 0, 1e-3): [50.0], (1, 1, 1e-3): [60.0]}), BOTH)
    assert any(note.startswith("α_st and α_ct move together") for note in together.notes)
    apart = study_plots(frame_of(grid()), BOTH)
    assert not any("move together" in note for note in apart.notes)


def test_equal_points_are_one_that_says_how_many(frame_of: Frame) -> None:
    frame = frame_of({**grid(), (2, 0, 1e-3): [10.0, 12.0]})
    (figure,) = study_plots(frame, BOTH).figures["pareto_front"]
    told = {text: size for trace in figure.data for text, size in zip(trace.hovertext, trace.marker.size, strict=True)}
    assert sorted(text.partition("<br>")[0] for text in told if "<br>" in text) == ["10 configurations"] * 2
    alone = next(size for text, size in told.items() if "<br>" not in text)
    assert all(size > 2 * alone for text, size in told.items() if "<br>" in text)
    assert all(trace.mode == "markers" for trace in figure.data)  # labels of crowded points run into each other


def test_what_was_stopped_early_has_a_marker_of_its_own(frame_of: Frame) -> None:
    frame = frame_of({(1, 0, 1e-3): [60.0], (0, 0, 1e-3): [50.0], (1, 1, 1e-3): [40.0], (0, 1, 1e-3): [30.0]})
    frame["1"] = [90.0, 80.0, 70.0, 60.0]
    frame["stopped_at"] = [np.nan, np.nan, 75.0, 75.0]
    (figure,) = study_plots(frame, BOTH).figures["pareto_front"]
    assert {trace.name: len(trace.x) for trace in figure.data} == {"stopped early": 2, "other": 1, "front": 1}
    symbols = {trace.name: trace.marker.symbol for trace in figure.data}
    assert symbols["stopped early"] != symbols["other"]


def test_one_trial_for_each_configuration_in_the_order_of_the_frame(
    frame_of: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = []
    plot = optuna.visualization.plot_optimization_history
    monkeypatch.setattr(
        optuna.visualization,
        "plot_optimization_history",
        lambda study, **names: studies.append(study) or plot(study, **names),
    )
    study_plots(frame_of({(1, 0, 1e-3): [60.0, 62.0], (0.5, 0, 1e-3): [50.0, 51.0]}), BOTH)
    temporal, retained = studies
    assert [t.value for t in temporal.trials] == [61.0, 50.5]
    assert [t.value for t in retained.trials] == [39.0, 49.5]
    assert [t.params["alpha_st"] for t in temporal.trials] == [1, 0.5]
    assert temporal.best_trial.number == 0
    assert isinstance(temporal.trials[0].distributions["alpha_st"], optuna.distributions.FloatDistribution)


def test_thousands_of_configurations_are_thinned_and_what_was_best_is_kept(
    frame_of: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tclap.report.study_plots.MOST_TRIALS", 5)
    scores = {(0, 0, 1e-3 * (n + 1)): [90.0 if n == 7 else 50.0 + n / 10] for n in range(40)}
    plots = study_plots(frame_of(scores), BOTH)
    (history, *_) = plots.figures["optimization_history"]
    values = [y for trace in history.data if trace.name == BOTH[0] for y in trace.y]
    assert max(values) == pytest.approx(90.0)
    assert len(values) <= 5
    assert any("of 40 configurations are drawn" in note for note in plots.notes)


def test_one_objective_has_no_front(frame_of: Frame) -> None:
    assert list(study_plots(frame_of(grid()), BOTH[:1]).figures) == ALL[1:]


def test_one_configuration_has_neither_importances_nor_paths(
    frame_of: Frame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(write_study_plots(frame_of({(1, 0, 1e-3): [60.0]}), BOTH, tmp_path)) == 1
    assert "there are 1" in caplog.text
    assert list(study_plots(frame_of({(1, 0, 1e-3): [60.0]}), BOTH).figures) == [ALL[0], ALL[3]]


def test_an_objective_that_never_changes_has_neither_importances_nor_paths(frame_of: Frame) -> None:
    metrics = ["zste/temporal", "zste/3A"]
    plots = study_plots(frame_of(grid()), metrics)
    assert len(plots.figures["param_importances"]) == 1
    assert [figure.data[0].line.colorbar.title.text for figure in plots.figures["parallel_coordinate"]] == metrics[:1]
    assert "no importances and no paths for zste/3A: it is 50 for every configuration" in plots.notes
    constant = study_plots(frame_of({key: [50.0] for key in grid()}), BOTH)
    assert list(constant.figures) == [ALL[0], ALL[3]]


def test_unknown_objectives_are_refused(frame_of: Frame) -> None:
    with pytest.raises(InputError, match="unknown metric 'temporal'"):
        study_plots(frame_of(grid()), ["temporal"])
