"""report.html is one file, whole at every moment of a sweep; the figures and the note that stand in it or beside it."""

import dataclasses
import itertools
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tclap.data import compose
from tclap.data.dataset import Dataset
from tclap.errors import InputError
from tclap.evaluation.details import Details, Wrong
from tclap.places import seed_folder_of
from tclap.report.behind import Behind, look_behind, mean_by_class, worst
from tclap.report.curves import history_frame
from tclap.report.figures import change_figure, pairs_figure
from tclap.report.grid import About
from tclap.report.leaderboard import best_line, rank
from tclap.report.mistakes import Mistake
from tclap.report.note import sweep_note
from tclap.report.page import Page, page_html, write_page
from tclap.report.tables import hash_labels
from tclap.sweep.ledger import write_details
from tclap.sweep.stopping import parse_guard
from tests.report.conftest import Frame

BOTH = ("zste/temporal", "zste/1")
VALUES = {(1, 0, 1e-3): [60.0, 62.0], (0, 0, 1e-3): [50.0, 51.0]}


def test_a_whole_page_needs_no_network(frame_of: Frame, tmp_path: Path) -> None:
    frame = frame_of(VALUES)
    frame = frame.assign(**{"order/change_0.2": 55.0, "order/change_0.5": 90.0})
    first, second = frame["config_hash"].unique()
    by_pair = pd.DataFrame([[np.nan, 90.0], [10.0, np.nan]], index=["dog", "cat"], columns=["dog", "cat"])
    page = Page(
        "table4",
        frame,
        BOTH,
        About("synthetic sound", "mini", {"3A_order": 50.0}),
        status="2 of 8 configurations done",
        command="python sweeps/table4.py --name 'a <b>'",
        links={(first, 0): "http://mlflow/1"},
        history=history_frame({(first, 0): [(50, {"zste/1": 40.0})], (second, 0): [(50, {"zste/1": 41.0})]}),
        behind=Behind(
            {"Seed 0": by_pair},
            [Mistake("dog before cat", "cat before dog", 0.1, 0.2, "data:audio/ogg;base64,AA")],
            "B, seed 0",
            "ESC-50: CC BY-NC 3.0",
        ),
    )
    text = write_page(page, tmp_path / "report.html").read_text()
    for part in ("leaderboard", "table", "curves", "settings", "change", "pairs", "mistakes"):
        assert f"id={part}>" in text
        assert f"href='#{part}'" in text
    assert text.count("<script>/**\n* plotly.js v") == 1
    outside = re.sub(r"<script>/\*\*\n\* plotly.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=['"](?!http://mlflow|#|data:)""", outside)
    assert "a &lt;b&gt;" in text
    assert "ESC-50: CC BY-NC 3.0" in text
    assert "What B, seed 0 gets most wrong" in text
    assert "Best: <strong>B  α 1 0 1 1  β 1  batch 8, zste/temporal 61.0 ± 12.7</strong>" in text


def test_behind_a_configuration_are_its_seeds(dataset: Dataset, frame_of: Frame, tmp_path: Path) -> None:
    def details(percent: float, *wrong: Wrong) -> Details:
        by_class = (("b", percent / 2, 6), ("a", 60.0, 8))
        return Details(("a", "b"), ((None, percent), (0.0, None)), wrong, 2.0, 16000, by_class)

    def wrong(chosen: str, margin: float, first: int = 0, second: int = -1) -> Wrong:
        row = compose.join(*(dataset.clips_in([4])[[clip]] for clip in (first, second)))[0]
        return Wrong(tuple(row.tolist()), "a before b", chosen, 0.1, 0.1 + margin)

    assert look_behind(tmp_path, "abc", [0, 1], "B", dataset) == Behind()  # results of before details were kept
    write_details(seed_folder_of(tmp_path, "abc", 0), details(100.0))
    alone = look_behind(tmp_path, "abc", [0], "B", dataset)
    assert not alone.mistakes
    assert alone.mistakes_of == "B, seed 0"
    middle = int(np.flatnonzero(np.diff(dataset.class_ids[dataset.clips_in([4])]))[1])  # of a class between those two
    both = details(50.0, wrong("b before a", 0.2, -1, 0), wrong("b before c", 0.1, 0, middle))
    write_details(seed_folder_of(tmp_path, "abc", 1), both)
    write_details(seed_folder_of(tmp_path, "abc", 2), details(75.0, wrong("a while b", 0.3)))
    found = look_behind(tmp_path, "abc", [1, 0, 2], "B", dataset)
    ((title, square),) = found.by_pair.items()
    assert title == "B, percent right, mean of 3 seeds"
    assert square.loc["a", "b"] == 75
    assert found.by_class.to_dict("list") == {"class": ["b", "a"], "right": [37.5, 60.0], "n": [18, 24]}
    text = page_html(Page("s", frame_of(VALUES), BOTH, behind=found))
    assert "By class: order/moved over the items that hold it" in text
    assert "A cell of the heat map above rests on 10 items, a class on n of them." in text  # 21 items, 2 cells
    assert [one.chosen for one in found.mistakes] == ["a while b", "b before c"]  # one for each pair of classes
    assert found.mistakes_of == "B, seeds 0, 1, 2"
    (seed_folder_of(tmp_path, "abc", 0) / "details.json").write_text("{")
    with pytest.raises(InputError, match=r"details\.json is not of this version"):
        look_behind(tmp_path, "abc", [0], "B", dataset)


def test_where_nothing_is_wrong_the_page_says_so(frame_of: Frame) -> None:
    def text(**items: int) -> str:
        about = About(items={name.removeprefix("task_"): n for name, n in items.items()})
        return page_html(Page("s", frame_of(VALUES), BOTH, about, behind=Behind(mistakes_of="B α <1>, seeds 0, 1")))

    assert "<p class=lead>Nothing wrong among 90 items of 3A: B α &lt;1&gt;, seeds 0, 1.</p>" in text(task_3A=90)
    assert "Nothing wrong among the items of 3A" in text()
    assert "Hear the mistakes" not in page_html(Page("s", frame_of(VALUES), BOTH))  # nobody looked


def test_at_most_twenty_mistakes_of_all_seeds_are_heard(dataset: Dataset) -> None:
    names = tuple(f"class {n}" for n in range(8))  # 28 pairs
    many = dataclasses.replace(dataset, class_ids=np.arange(8), class_names=names)
    pairs = list(itertools.combinations(range(8), 2))

    def details(pairs: list[tuple[int, int]], margin: float) -> Details:
        rows = [(n, (compose.JOIN, *pair, 0, 500, 500, 500, -1)) for n, pair in enumerate(pairs)]
        wrong = tuple(Wrong(row, "right", f"{n}", 0.0, margin - n / 1000) for n, row in rows)
        return Details(names, (), wrong, 2.0, 16000)

    found = worst([details(pairs[:20], 0.5), details(pairs[8:], 0.7)], many)
    assert [one.window[1:3] for one in found] == pairs[8:]


def test_a_page_before_anything_is_done_says_so(frame_of: Frame, tmp_path: Path) -> None:
    page = Page("table4", frame_of({}), BOTH, status="0 of 8 configurations done")
    text = write_page(page, tmp_path / "report.html").read_text()
    assert "Nothing is done yet" in text
    assert "0 of 8 configurations done" in text


def test_accuracy_over_the_change_point_is_in_the_order_of_the_places(frame_of: Frame) -> None:
    frame = frame_of(VALUES)
    assert change_figure(frame, hash_labels(frame)) is None
    frame = frame.assign(**{"order/change_0.5": 90.0, "order/change_0.2": 55.0, "order/middle": 1.0})
    figure = change_figure(frame, hash_labels(frame))
    assert figure is not None
    line = next(trace for trace in figure.data if trace.name)
    assert list(line.x) == [0.2, 0.5]
    assert list(line.y) == [55.0, 90.0]


def test_the_heat_map_has_the_first_class_in_its_rows() -> None:
    table = pd.DataFrame([[np.nan, 90.0], [10.0, np.nan]], index=["dog", "cat"], columns=["dog", "cat"])
    (heat,) = pairs_figure(table, "t").data
    assert list(heat.y) == ["dog", "cat"]
    assert heat.z[0][1] == 90.0


def test_the_best_line_says_ties_single_seeds_and_why_nobody_wins(frame_of: Frame) -> None:
    def best(values: dict[tuple[float, float, float], list[float]], *guards: str) -> str:
        frame = frame_of(values)
        ranked = rank(frame, BOTH[0], [parse_guard(guard) for guard in guards], BOTH)
        return best_line(ranked, BOTH[0], hash_labels(frame))

    assert best({(1, 0, 1e-3): [60.0]}) == "B  α 1 0 1 1  β 1  batch 8, zste/temporal 60.0, one seed"
    tied = best({(1, 0, 1e-3): [60.0, 62.0], (0, 0, 1e-3): [62.0, 60.0]})
    assert tied.endswith("61.0 ± 12.7, tied with 1 other")
    assert best(VALUES, "zste/1>=99") == "none can win; for the first of the ranking, zste/1>=99 does not hold"


def test_the_note_has_progress_first_then_the_best_then_the_table(frame_of: Frame) -> None:
    note = sweep_note("table4", "2 of 8 done", frame_of(VALUES), BOTH, "the plan", "python x.py")
    order = ["2 of 8 done", "Best so far: B  α 1 0 1 1", "| rank", "python x.py"]
    places = [note.index(text) for text in [*order, "the plan"]]
    assert places == sorted(places)
    assert "batch 8" not in note.partition("| rank")[2]  # what does not vary is no column
    assert sweep_note("table4", "nothing yet", frame_of({}), BOTH) == "**table4**: nothing yet\n"


@pytest.mark.parametrize("count", [25])
def test_a_long_leaderboard_is_cut_with_a_word(frame_of: Frame, count: int) -> None:
    note = sweep_note("s", "done", frame_of({(n, 0, 1e-3): [float(n)] for n in range(count)}), BOTH)
    assert "and 5 more" in note


def test_order_by_class_of_seeds_some_of_which_are_from_before_it_was_kept() -> None:
    older = Details(("a", "b"), (), (), 2.0, 16000)
    newer = dataclasses.replace(older, by_class=(("b", 10.0, 4), ("a", 50.0, 4)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pandas guesses the types of a column without rows, and says so
        both, none = mean_by_class([older, newer]), mean_by_class([older])
    assert both.to_dict("list") == {"class": ["b", "a"], "right": [10.0, 50.0], "n": [4, 4]}
    assert not len(none)
