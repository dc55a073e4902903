"""The picture of a table: nothing in it overlaps, and it says which rows it shows and why."""

import itertools

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text

from tclap.report.grid import About, best_cells
from tclap.report.plots import MOST_ROWS, table_figure
from tclap.report.tables import ORDER, SHOWN
from tests.report.conftest import Frame

# ESC-50's, of which 2A's and 2C's once ran over their neighbours.
CHANCE = dict.fromkeys(SHOWN, 100 / 3) | {"1": 2.0, "2A": 100 / 1225, "2B": 7.918, "2C": 100 / 1225, "2D": 7.918}


def texts(figure: Figure) -> list[Text]:
    (axes,) = figure.axes
    found = [*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts, axes.title]
    return [text for text in found if text.get_text()]


@pytest.mark.parametrize("stopped", [[np.nan] * 2, [180.0, np.nan]])
def test_no_two_texts_of_the_picture_touch(frame_of: Frame, stopped: list[float]) -> None:
    frame = frame_of({(1, 0, 1e-3): [60.0], (0, 0, 1e-3): [50.0]}).assign(stopped_at=stopped)
    frame = frame.assign(**dict.fromkeys(ORDER, 100.0), **dict.fromkeys(SHOWN, 100.0))
    figure = table_figure(frame, [*SHOWN, *ORDER], About("esc50, fold 4", "mini", CHANCE))
    figure.canvas.draw()
    for one, other in itertools.combinations(texts(figure), 2):
        assert not one.get_window_extent().overlaps(other.get_window_extent()), (one.get_text(), other.get_text())
    assert [text.get_text() for text in texts(figure)].count("<0.1") == 2
    plt.close(figure)


def test_of_many_rows_the_best_by_order_that_ran_to_their_end_are_shown(frame_of: Frame) -> None:
    count = MOST_ROWS + 10
    frame = frame_of({(n, 0, 1e-3): [float(n)] for n in range(count)})  # zste/temporal is n
    frame["order"] = 90.0 - frame["temporal"]
    frame["stopped_at"] = [75.0, *[np.nan] * (count - 1)]  # the best by order
    figure = table_figure(frame, SHOWN, About())
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert [name.split()[2] for name in names] == [f"{n}" for n in range(1, MOST_ROWS + 1)]
    assert (
        "the 40 best of 50 configurations by zste/order, best first, without the 1 that was stopped" in axes.get_title()
    )
    plt.close(figure)
    older = table_figure(frame.drop(columns=["order", "stopped_at"]), SHOWN, About())
    assert "the 40 best of 50 configurations by zste/temporal, best first\n" in older.axes[0].get_title()
    assert older.axes[0].get_yticklabels()[0].get_text().split()[2] == f"{count - 1}"
    plt.close(older)


def test_when_all_of_many_were_stopped_they_are_shown(frame_of: Frame) -> None:
    frame = frame_of({(n, 0, 1e-3): [float(n)] for n in range(MOST_ROWS + 1)}).assign(stopped_at=75.0)
    figure = table_figure(frame, SHOWN, About())
    assert len(figure.axes[0].get_yticklabels()) == MOST_ROWS
    plt.close(figure)


def test_what_is_at_chance_is_not_bold(frame_of: Frame) -> None:
    frame = frame_of({(1, 0, 1e-3): [60.0], (0, 0, 1e-3): [50.0], (1, 1, 1e-3): [40.0]})
    frame["3A"], frame["zste_low/3A"], frame["zste_high/3A"] = [60.0, 50.0, 40.0], 45.0, 75.0
    frame["3B"], frame["zste_low/3B"], frame["zste_high/3B"] = [60.0, 50.0, 40.0], 50.5, 75.0
    frame["4A"] = [50.4, 50.3, 50.0]  # no interval
    frame["4B"] = [50.6, 50.3, 50.0]
    frame["5A"] = [45.0, 44.0, 40.0]
    frame["order/bias"], frame["zste_low/order/bias"], frame["zste_high/order/bias"] = [20.0, 30.0, 40.0], 15.0, 25.0
    columns = ["3A", "3B", "4A", "4B", "5A", "order/bias"]
    best = best_cells(frame, columns, dict.fromkeys(columns, 50.0))
    assert best[0].tolist() == [False, True, False, True, False, True]
    assert not best[1:].any()
    assert best_cells(frame, columns, {})[0].all()
    seeds = frame_of({(1, 0, 1e-3): [90.0, 92.0], (0, 0, 1e-3): [52.0, 58.0]})
    seeds["3A"], seeds["3B"] = [90.0, 92.0, 52.0, 58.0], [52.0, 58.0, 50.0, 50.0]
    assert best_cells(seeds, ["3A", "3B"], {"3A": 50.0, "3B": 50.0}).tolist() == [[True, False], [False, False]]
