from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tclap.report import order_plots


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[plt.Figure]:
    """The figures, before they are closed."""
    figures: list[plt.Figure] = []
    monkeypatch.setattr(order_plots.plt, "close", figures.append)
    return figures


def test_change_curve_shows_each_name_and_chance(drawn: list[plt.Figure], tmp_path: Path) -> None:
    points = pd.DataFrame(
        {"change": [0.1, 0.5, 0.9], "value": [50.0, 100, 52], "low": [40, 95, 41], "high": [60, 100, 63]}
    )
    order_plots.change_curve({"midpoint": points, "drawn": points + 1}, tmp_path / "curve.png")
    (axes,) = drawn[0].axes
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    assert list(lines) == ["midpoint", "drawn", "chance"]
    np.testing.assert_array_equal(lines["midpoint"], points["value"])
    assert set(lines["chance"]) == {50}
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("classes", [3, 25])
def test_heat_map_shows_each_pair_once(drawn: list[plt.Figure], tmp_path: Path, classes: int) -> None:
    values = np.random.default_rng(0).uniform(0, 100, (classes, classes))
    np.fill_diagonal(values, np.nan)
    names = [f"class {n}" for n in range(classes)]
    order_plots.pair_heat_map(pd.DataFrame(values, names, names), tmp_path / "map.png")
    axes = drawn[0].axes[0]
    shown = axes.images[0].get_array()
    np.testing.assert_array_equal(shown.mask, np.isnan(values))
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    texts = [text.get_text() for text in axes.texts]
    assert len(texts) == (classes * (classes - 1) if classes <= 20 else 0)
    assert (tmp_path / "map.png").stat().st_size > 1000
