import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tclap.report.curves import MOST_CURVES, band, curves_figure, history_frame, lines_figure


def test_a_band_is_the_t_interval_over_seeds_at_each_step() -> None:
    history = history_frame(
        {
            ("a", 0): [(10, {"zste/1": 50.0, "train/loss": 3.0}), (20, {"zste/1": 60.0})],
            ("a", 1): [(10, {"zste/1": 54.0}), (20, {"zste/1": 70.0}), (30, {"zste/1": 80.0})],
        }
    )
    table = band(history, "zste/1")
    assert table["step"].tolist() == [10, 20, 30]
    assert table["mean"].tolist() == [52, 65, 80]
    assert table["seeds"].tolist() == [2, 2, 1]
    low, high = stats.t.interval(0.95, 1, loc=65, scale=stats.sem([60, 70]))
    assert table.loc[1, ["low", "high"]].tolist() == pytest.approx([low, high])
    assert np.isnan(table.loc[2, "low"])
    assert band(history, "train/loss")["step"].tolist() == [10]


def test_a_line_for_each_configuration_ends_at_its_last_value() -> None:
    history = history_frame(
        {("a", 0): [(10, {"zste/1": 50.0}), (20, {"zste/1": 61.5})], ("b", 0): [(10, {"zste/1": 1.0})]}
    )
    figure = curves_figure(history, "zste/1", {"a": "first", "b": "second", "c": "not scored"}, chance=10.0)
    lines = {trace.name: trace for trace in figure.data if trace.name}
    assert list(lines) == ["first", "second"]
    assert lines["first"].y[-1] == 61.5
    assert figure.layout.shapes[0].y0 == 10.0


def test_a_band_of_percent_stays_within_it() -> None:
    history = history_frame({("a", 0): [(10, {"zste/1": 99.0})], ("a", 1): [(10, {"zste/1": 60.0})]})
    (around,) = (trace for trace in curves_figure(history, "zste/1", {"a": "first"}).data if trace.fill == "toself")
    assert sorted(around.y) == [0.0, 100.0]


def test_of_many_the_best_are_drawn_and_the_title_says_so() -> None:
    lines = {str(n): pd.DataFrame({"x": [0], "mean": [float(n)], "low": [np.nan], "high": [np.nan]}) for n in range(30)}
    figure = lines_figure(lines, ("x", "y"), title="T")
    assert {trace.name for trace in figure.data if trace.name} == {str(n) for n in range(30 - MOST_CURVES, 30)}
    assert figure.layout.title.text == f"T (the {MOST_CURVES} best of 30)"


def test_nothing_scored_yet_is_an_empty_frame() -> None:
    assert list(history_frame({})) == ["config_hash", "seed", "step"]
