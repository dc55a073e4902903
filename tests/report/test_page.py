"""report.html is one file, whole at every moment of a sweep; the figures and the note that stand in it or beside it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tclap.data import compose
from tclap.data.dataset import Dataset
from tclap.errors import InputError
from tclap.evaluation.details import Details, Wrong
from tclap.places import seed_folder_of
from tclap.report.behind import Behind, look_behind
from tclap.report.curves import history_frame
from tclap.report.figures import change_figure, pairs_figure
from tclap.report.grid import About
from tclap.report.leaderboard import best_line, rank
from tclap.report.mistakes import Mistake
from tclap.report.note import sweep_note
from tclap.report.page import Page, write_order_page, write_page
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
    order = write_order_page(page, tmp_path / "order.html")
    assert order is not None
    assert re.findall("<h2>(.*?)</h2>", order.read_text()) == [
        "Accuracy over the change point",
        "Order by pairs of classes",
    ]
    assert write_order_page(Page("old", frame_of(VALUES), BOTH), tmp_path / "none.html") is None
    assert "Best: <strong>B  α 1 0 1 1  β 1  batch 8, zste/temporal 61.0 ± 12.7</strong>" in text


def test_behind_a_configuration_are_its_seeds(dataset: Dataset, tmp_path: Path) -> None:
    def details(percent: float, chosen: str) -> Details:
        clips = dataset.clips_in([4])
        row = compose.join(clips[:1], clips[-1:])[0]
        wrong = (Wrong(tuple(row.tolist()), "a before b", chosen, 0.1, 0.2),)
        return Details(("a", "b"), ((None, percent), (0.0, None)), wrong, 2.0, 16000)

    assert look_behind(tmp_path, "abc", [0, 1], "B", dataset) == Behind()  # results of before details were kept
    write_details(seed_folder_of(tmp_path, "abc", 1), details(50.0, "b before a"))
    write_details(seed_folder_of(tmp_path, "abc", 0), details(100.0, "a while b"))
    found = look_behind(tmp_path, "abc", [1, 0], "B", dataset)
    ((title, square),) = found.by_pair.items()
    assert title == "B, percent right, mean of 2 seeds"
    assert square.loc["a", "b"] == 75
    assert [one.chosen for one in found.mistakes] == ["a while b"]
    assert found.mistakes_of == "B, seed 0"
    (seed_folder_of(tmp_path, "abc", 0) / "details.json").write_text("{")
    with pytest.raises(InputError, match=r"details\.json is not of this version"):
        look_behind(tmp_path, "abc", [0], "B", dataset)


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
    note = sweep_note(
        "table4", "2 of 8 done", frame_of(VALUES), BOTH, "run1", "the plan", "python x.py", picture="t.png"
    )
    order = ["2 of 8 done", "Best so far: B  α 1 0 1 1", "| rank", "path=t.png", "python x.py"]
    places = [note.index(text) for text in [*order, "the plan"]]
    assert places == sorted(places)
    assert "![t.png](get-artifact?path=t.png&run_id=run1)" in note
    assert "batch 8" not in note.partition("| rank")[2]  # what does not vary is no column
    assert sweep_note("table4", "nothing yet", frame_of({}), BOTH, "run1") == "**table4**: nothing yet\n"


@pytest.mark.parametrize("count", [25])
def test_a_long_leaderboard_is_cut_with_a_word(frame_of: Frame, count: int) -> None:
    note = sweep_note("s", "done", frame_of({(n, 0, 1e-3): [float(n)] for n in range(count)}), BOTH, "r")
    assert "and 5 more" in note
