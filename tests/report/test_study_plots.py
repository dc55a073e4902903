import logging
from pathlib import Path

import optuna
import pytest

from tclap.errors import InputError
from tclap.report.study_plots import write_study_plots
from tests.report.conftest import Frame

ALL = ["pareto_front.html", "param_importances.html", "parallel_coordinate.html", "optimization_history.html"]
BOTH = ["zste/temporal", "zste/1"]


def grid() -> dict[tuple[float, float, float], list[float]]:
    """α_st decides everything."""
    return {(st, ct, lr): [50 + 40 * st, 52 + 40 * st] for st in (0, 1) for ct in (0, 1) for lr in (1e-3, 1e-4)}


def test_pages_hold_the_names_of_settings_and_objectives_and_need_no_network(frame_of: Frame, tmp_path: Path) -> None:
    paths = write_study_plots(frame_of(grid()), BOTH, tmp_path)
    assert [p.name for p in paths] == ALL
    pages = {p.stem: p.read_text() for p in paths}
    for page in pages.values():
        assert "zste/temporal" in page.replace("\\u002f", "/")
        assert "zste/1" in page.replace("\\u002f", "/")
        assert "cdn.plot.ly" not in page.split("plotly.js")[0]
        assert page.count("Plotly.newPlot") >= 1
    for setting in ("alpha_st", "alpha_ct", "lr"):
        assert setting in pages["param_importances"]
        assert setting in pages["parallel_coordinate"]
        assert setting in pages["pareto_front"]  # on hovering


def test_the_setting_that_decides_is_the_most_important(
    frame_of: Frame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    plot = optuna.visualization.plot_param_importances

    def spy(study: optuna.Study, **options: object) -> object:
        found.append(optuna.importance.get_param_importances(study, **options))  # type: ignore[arg-type]
        return plot(study, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(optuna.visualization, "plot_param_importances", spy)
    write_study_plots(frame_of(grid()), BOTH, tmp_path)
    temporal, _ = found
    assert set(temporal) == {"alpha_st", "alpha_ct", "lr"}  # what does not vary has no importance
    assert next(iter(temporal)) == "alpha_st"
    assert temporal["alpha_st"] > 0.8


def test_one_trial_for_each_configuration_in_the_order_of_the_frame(
    frame_of: Frame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = []
    plot = optuna.visualization.plot_optimization_history
    monkeypatch.setattr(
        optuna.visualization,
        "plot_optimization_history",
        lambda study, **names: studies.append(study) or plot(study, **names),
    )
    write_study_plots(frame_of({(1, 0, 1e-3): [60.0, 62.0], (0.5, 0, 1e-3): [50.0, 51.0]}), BOTH, tmp_path)
    temporal, retained = studies
    assert [t.value for t in temporal.trials] == [61.0, 50.5]
    assert [t.value for t in retained.trials] == [39.0, 49.5]
    assert [t.params["alpha_st"] for t in temporal.trials] == [1, 0.5]
    assert temporal.best_trial.number == 0
    assert isinstance(temporal.trials[0].distributions["alpha_st"], optuna.distributions.FloatDistribution)


def test_one_objective_has_no_front(frame_of: Frame, tmp_path: Path) -> None:
    assert [p.name for p in write_study_plots(frame_of(grid()), BOTH[:1], tmp_path)] == ALL[1:]


def test_one_configuration_has_no_importances_and_the_log_says_why(
    frame_of: Frame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        paths = write_study_plots(frame_of({(1, 0, 1e-3): [60.0]}), BOTH, tmp_path)
    assert [p.name for p in paths] == [ALL[0], *ALL[2:]]
    assert "no setting varies over 1 configuration" in caplog.text


def test_an_objective_that_never_changes_has_no_importances(
    frame_of: Frame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = ["zste/temporal", "zste/3A"]
    with caplog.at_level(logging.WARNING):
        paths = write_study_plots(frame_of(grid()), metrics, tmp_path)
    assert [p.name for p in paths] == ALL
    assert "zste/3A" not in paths[1].read_text()
    assert "no importances for zste/3A: it is 50 for every configuration" in caplog.text
    assert [p.name for p in write_study_plots(frame_of(grid()), metrics[1:], tmp_path)] == ALL[2:]


def test_two_configurations_are_enough(frame_of: Frame, tmp_path: Path) -> None:
    paths = write_study_plots(frame_of({(1, 0, 1e-3): [60.0], (0, 0, 1e-3): [50.0]}), BOTH, tmp_path)
    assert [p.name for p in paths] == ALL


def test_unknown_objectives_are_refused(frame_of: Frame, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown metric 'temporal'"):
        write_study_plots(frame_of(grid()), ["temporal"], tmp_path)
