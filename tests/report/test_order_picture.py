"""Order as a picture: its lines and squares are the scores."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from tclap.report.order_picture import MOST_LINES, order_figure, write_order_picture
from tclap.report.tables import hash_labels
from tests.report.conftest import Frame

CHANGES = ("order/change_0.1", "order/change_0.5", "order/change_0.9")
PAIRS = pd.DataFrame([[np.nan, 90.0], [40.0, np.nan]], index=["hum", "tick"], columns=["hum", "tick"])


def test_lines_are_means_over_seeds_and_squares_are_pairs(frame_of: Frame) -> None:
    frame = frame_of({(1, 0, 1e-3): [60.0, 61.0], (0, 0, 1e-3): [50.0, 51.0]})
    values = np.arange(len(frame) * 3, dtype=float).reshape(len(frame), 3)
    frame[list(CHANGES)] = values
    figure = order_figure(frame, hash_labels(frame), {"best, percent right": PAIRS})
    assert figure is not None
    curves, squares = figure.axes
    drawn = {line.get_label(): np.array(line.get_ydata()) for line in curves.lines[:-1]}
    for name, label in hash_labels(frame).items():
        np.testing.assert_allclose(drawn[label], values[frame["config_hash"] == name].mean(axis=0))
    np.testing.assert_array_equal(np.array(squares.images[0].get_array().filled(np.nan)), PAIRS.to_numpy())
    assert [text.get_text() for text in squares.texts] == ["90", "40"]
    plt.close(figure)


def test_of_many_configurations_the_best_are_drawn(frame_of: Frame) -> None:
    count = MOST_LINES + 5
    frame = frame_of({(n, 0, 1e-3): [float(n)] for n in range(count)})
    for name in CHANGES:
        frame[name] = np.arange(count, dtype=float)
    figure = order_figure(frame, hash_labels(frame), {})
    assert figure is not None
    (curves,) = figure.axes
    assert sorted(line.get_ydata()[0] for line in curves.lines[:-1]) == list(range(5, count))
    assert f"the {MOST_LINES} best of {count}" in curves.get_title()
    plt.close(figure)


def test_there_is_no_picture_of_what_was_not_measured(frame_of: Frame, tmp_path: Path) -> None:
    frame = frame_of({(1, 0, 1e-3): [60.0]})
    assert write_order_picture(frame, hash_labels(frame), {}, tmp_path / "order.png") is None
    assert not (tmp_path / "order.png").exists()
    written = write_order_picture(frame, hash_labels(frame), {"best": PAIRS}, tmp_path / "order.png")
    assert written is not None
    assert plt.imread(written).shape[1] > 600
