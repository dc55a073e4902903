"""The files of a table: rows are configurations, every setting that varies is told, and the csv stays what it was."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tclap.axes import expand, parse_vary
from tclap.config import Configuration, LossCoefficients, OptimiserSettings, StageASettings, config_hash
from tclap.errors import InputError
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS
from tclap.report.leaderboard import rank
from tclap.report.note import sweep_note
from tclap.report.page import Page, page_html
from tclap.report.study_plots import study_plots
from tclap.report.tables import (
    SHOWN,
    about_scores,
    hash_labels,
    long_frame,
    metric_of,
    result_frame,
    setting_columns,
    write_tables,
)
from tclap.sweep.ledger import Result
from tests.report.conftest import Frame

STORED = Path(__file__).parent / "data" / "table4.csv"
ROWS = [("B", 0, 0, 0, 0), ("B", 1, 0, 1, 0), ("AB", 1, 1, 1, 1)]


def row(stages: str, st: float = 1, ct: float = 1, so: float = 1, co: float = 1) -> Configuration:
    with_a = stages == "AB"
    return Configuration(
        stages=stages,
        batch_size=40,
        coefficients=LossCoefficients(alpha_st=st, alpha_ct=ct, alpha_so=so, alpha_co=co),
        stage_a=StageASettings() if with_a else None,
        optimiser_a=OptimiserSettings() if with_a else None,
        optimiser_b=OptimiserSettings(),
    )


def scores(value: float) -> dict[str, float]:
    return {f"zste/{name}": value for name in (*SHOWN, "temporal", "mean")}


def table4(seeds: int = 2) -> pd.DataFrame:
    """The frame from which `data/table4.csv` was written by the version before axes."""
    return long_frame(
        (row(*settings), seed, {f"zste/{c}": 100 / (3 + i + j + seed) for j, c in enumerate(SHOWN)})
        for i, settings in enumerate(ROWS)
        for seed in range(seeds)
    )


def test_the_csv_is_what_it_was_to_the_last_byte(tmp_path: Path) -> None:
    csv, *_ = write_tables(table4(), tmp_path / "table4")
    assert csv.read_bytes() == STORED.read_bytes()


def test_two_weight_decays_are_two_rows_and_the_column_that_differs_is_there(tmp_path: Path) -> None:
    """Once shown as "ours (2)", the mean of both."""
    rows = expand([row("B")], [parse_vary("optimiser_b.weight_decay=0.01,0.1")])
    frame = long_frame((c, 0, scores(value)) for c, value in zip(rows, (40.0, 60.0), strict=True))
    assert setting_columns(frame)[-1] == "weight_decay"
    csv, shown, page, *_ = write_tables(frame, tmp_path / "t")
    assert pd.read_csv(csv)["weight_decay"].tolist() == [0.01, 0.1]
    for text in (shown.read_text(), page.read_text()):
        assert text.count("ours (1)") == 2
        assert "weight_decay" in text
        assert "50.0" not in text
    assert list(hash_labels(frame).values()) == [
        "B  α 1 1 1 1  β 1  batch 40  weight_decay 0.01",
        "B  α 1 1 1 1  β 1  batch 40  weight_decay 0.1",
    ]


def test_a_sweep_that_grew_by_an_axis_and_a_seed_averages_over_seeds_alone(tmp_path: Path) -> None:
    """Two seeds of before, one of what came: rows, labels and comparisons of each configuration by itself."""
    before, came = expand([row("B")], [parse_vary("optimiser_b.weight_decay=0.01,0.1")])
    rows = [(before, 0, scores(40.0)), (before, 1, scores(42.0)), (came, 0, scores(60.0))]
    frame = long_frame((c, s, {**m, "zste/order": m["zste/1"]}) for c, s, m in rows)
    ranked = rank(frame, "zste/order", (), ("zste/order", "zste/1"))
    assert ranked[["weight_decay", "zste/order", "seeds", "excluded"]].values.tolist() == [
        [0.01, 41.0, 2, ""],
        [0.1, 60.0, 1, "1 of 2 seeds"],
    ]
    page = page_html(Page("s", frame, ("zste/order", "zste/1")))
    note = sweep_note("s", "done", frame, ("zste/order", "zste/1"))
    table = write_tables(frame, tmp_path / "t")[1].read_text()
    assert "mean of 1 to 2 seeds" in table
    for text in (page, note, table):
        assert "weight_decay" in text
        assert "47.3" not in text  # the mean of all three
        assert "50.5" not in text  # of both means


@pytest.mark.parametrize("vary", ["optimiser_b.lr=1e-4,1e-3", "takes=10,20", "alpha_same=0,1", "steps_a=10,20"])
def test_what_varies_in_one_stage_alone_has_a_column_that_the_others_leave_empty(vary: str, tmp_path: Path) -> None:
    rows = expand([row("B"), row("AB")], [parse_vary(vary)])
    frame = long_frame((c, seed, scores(50.0 + n)) for n, c in enumerate(rows) for seed in (0, 1))
    assert frame["config_hash"].nunique() == len(rows)
    _, shown, *_ = write_tables(frame, tmp_path / "t")
    assert shown.read_text().count("ours (2)") == len(rows)
    assert len(set(hash_labels(frame).values())) == len(rows)


def test_chance_stands_in_the_header_and_the_best_is_bold(tmp_path: Path) -> None:
    configurations = [row("B", 0), row("B", 1)]
    results = {
        (config_hash(c), 0): Result(
            config_hash(c),
            0,
            {name: Score(value, value - 5, value + 5, 90, 100 / 3) for name in (*COLUMNS, *EXTRA_COLUMNS)},
            1.0,
            1,
            "here",
        )
        for c, value in zip(configurations, (40.0, 60.0), strict=True)
    }
    frame = result_frame(configurations, results)
    about = about_scores(configurations, (r.scores for r in results.values()), "synthetic sound, fold 4")
    links = {(config_hash(configurations[1]), 0): "http://mlflow/run?a=1&b=2"}
    paths = write_tables(frame, tmp_path / "table4", "", about, links)
    assert [path.suffix for path in paths] == [".csv", ".md", ".html", ".png", ".tex"]
    text, page, tex = paths[1].read_text(), paths[2].read_text(), paths[4].read_text()
    assert "mini on synthetic sound, fold 4; one seed" in text
    assert "3A (33.3)" in text
    assert text.count("**60.0**") == len(SHOWN)
    assert "**40.0**" not in text
    assert "<small>chance 33.3</small>" in page
    assert "mini on synthetic sound, fold 4; one seed" in page
    assert page.count("<a href='http://mlflow/run?a=1&amp;b=2'><b>60.0</b></a>") == len(SHOWN)
    assert page.count("<tr class=ours>") == 2
    assert page.count("<tr class=paper>") == 1  # (B, 1, 1, 1, 1); Table IV has no (B, 0, 1, 1, 1)
    assert tex.count(r"\textbf{60.0}") == len(SHOWN)
    for mark in ("toprule", "midrule", "bottomrule"):
        assert rf"\{mark}" in tex
    body = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {len(SHOWN) + 5}
    assert paths[3].read_bytes()[:4] == b"\x89PNG"


def test_one_seed_has_its_interval_over_recordings_and_several_have_their_spread(tmp_path: Path) -> None:
    one, several = row("B", 0), row("B", 1)
    results = {
        (config_hash(c), seed): Result(
            *(config_hash(c), seed),
            {name: Score(97.5 - seed, 96.12, 98.44, 90, 50.0) for name in (*COLUMNS, *EXTRA_COLUMNS, "order/moved")},
            *(1.0, 1, "here"),
        )
        for c, seed in ((one, 0), (several, 0), (several, 1))
    }
    frame = result_frame([one, several], results)
    csv, md, page, _, tex, *_ = (file.read_text("utf-8", "replace") for file in write_tables(frame, tmp_path / "t"))
    numbers = len(SHOWN) + 1  # and order/moved, in the second table
    assert tex.count(r"{\scriptsize [96.1, 98.4]}") == numbers
    body = [line.rpartition(r"\\")[0] for line in tex.splitlines() if r"\\" in line]
    assert {line.count("&") for line in body} == {len(SHOWN) + 5, 1 + 5}  # intervals stand in their columns
    assert tex.count(r"97.0 $\pm$ 6.4 &") + tex.count(r"97.0 $\pm$ 6.4 \\") == numbers
    assert tex.count("95\\% interval over recordings") == 2  # in the note of each table
    assert page.count("seed 0: 97.50, 95% interval over recordings 96.1 to 98.4'") == numbers
    assert page.count("seed 0: 97.50, seed 1: 96.50'") == numbers
    assert "they show while the pointer is on a number" in page
    assert "[96.1" not in md
    assert "stand in the .tex and .html" in md
    assert "zste_low" not in csv
    several_alone = {key: result for key, result in results.items() if key[0] == config_hash(several)}
    *_, tex = write_tables(result_frame([several], several_alone), tmp_path / "several")[:5]
    assert "over recordings" not in tex.read_text()


def test_the_ends_of_an_interval_are_no_metric_to_rank_by() -> None:
    frame = long_frame([(row("B"), 0, scores(50.0) | {"zste_low/1": 40.0, "zste_high/1": 60.0})])
    with pytest.raises(InputError) as error:
        rank(frame, "zste_low/1")
    assert "zste_low" not in str(error.value).partition("this sweep has")[2]


def test_each_dagger_has_its_footnote(tmp_path: Path) -> None:
    frame = long_frame([(row("B"), 0, scores(50.0)), (row("B", 0, 0, 0, 0), 0, scores(51.0))])
    _, shown, page, _, tex = write_tables(frame, tmp_path / "t")
    for text, dagger, other in (
        (shown.read_text(), "26.01†", "12.20‡"),
        (page.read_text(), "26.01<sup>†</sup>", "12.20<sup>‡</sup>"),
        (tex.read_text(), r"\emph{26.01}\textsuperscript{\dag{}}", r"\emph{12.20}\textsuperscript{\ddag{}}"),
    ):
        assert dagger in text
        assert other in text
        assert "not the half-credit score" in text
        assert "Table V prints 32.20" in text


def test_the_papers_row_is_shown_once_under_the_first_of_its_setting(tmp_path: Path) -> None:
    rows = expand([row("B")], [parse_vary("lr=1e-4,3e-4"), parse_vary("batch_size=20,40")])
    frame = long_frame((c, 0, scores(50.0)) for c in rows)
    _, shown, *_ = write_tables(frame, tmp_path / "t")
    lines = [line for line in shown.read_text().splitlines() if "ours (1)" in line or "| *paper*" in line]
    assert [("*paper*" in line) for line in lines] == [False, True, False, False, False]
    assert "256" in lines[1]


def test_measures_of_order_are_a_second_table(tmp_path: Path) -> None:
    order = {"zste/order/moved": 80.0, "order/paired": 60.0, "order/bias": 20.0, "zste/4A_hard": 30.0}
    worse = {"zste/order/moved": 70.0, "order/paired": 50.0, "order/bias": 40.0, "zste/4A_hard": 20.0}
    order |= {"zste/order/change_0.2": 75.0}
    frame = long_frame([(row("B"), 0, scores(50.0) | order), (row("B", 0), 0, scores(50.0) | worse)])
    *paths, extra = write_tables(frame, tmp_path / "t")
    assert extra.name == "t_order.csv"
    assert list(pd.read_csv(extra))[-4:] == ["order/moved", "order/paired", "order/bias", "4A_hard"]
    text = paths[1].read_text()
    for best in ("**80.0**", "**60.0**", "**20.0**", "**30.0**"):  # of bias, the least
        assert best in text
    assert "change_0.2" not in text
    assert metric_of("order/moved") == "order/moved"
    assert metric_of("4A_hard") == "zste/4A_hard"


def test_order_has_a_column_with_its_chance_and_notes_say_what_seeds_draw(tmp_path: Path) -> None:
    def result(configuration: Configuration, seed: int) -> Result:
        of_order = {"order/moved": Score(90, 80, 95, 60, 50.0), "order/paired": Score(80, 70, 90, 30, 25.0)}
        others = {name: Score(50, 40, 60, 90, 10.0) for name in (*COLUMNS, *EXTRA_COLUMNS)}
        return Result(config_hash(configuration), seed, {**others, **of_order}, 1.0, 1, "here")

    for varied, said in ((True, "draw composites and batches anew"), (False, "draw only the order of batches anew")):
        one = row("B").model_copy(update={"vary_draws": varied})
        results = {(config_hash(one), seed): result(one, seed) for seed in (0, 1)}
        about = about_scores([one], [r.scores for r in results.values()])
        frame = result_frame([one], results)
        text = write_tables(frame, tmp_path / "t", "", about)[1].read_text()
        assert "order (37.5)" in text
        assert "85.0 ± 0.0" in text
        assert said in text
        alone = write_tables(frame[frame["seed"] == 0], tmp_path / "t", "", about)[1].read_text()
        assert said not in alone  # one seed has no ±


def test_a_score_that_one_seed_lacks_has_no_mean(tmp_path: Path) -> None:
    frame = long_frame([(row("B"), 0, scores(50.0)), (row("B"), 1, {**scores(60.0), "zste/3A": float("nan")})])
    _, shown, *_ = write_tables(frame, tmp_path / "t")
    (line,) = (line for line in shown.read_text().splitlines() if "ours (2)" in line)
    assert line.count("n/a") == 1
    assert line.count("55.0 ± 63.5") == len(SHOWN) - 1


def test_markup_in_a_name_stays_text(tmp_path: Path) -> None:
    frame = table4()
    about = about_scores([row("B")], (), "<script>alert(1)</script> 100% & _more_")
    _, _, page, _, tex = write_tables(frame, tmp_path / "t", "", about)
    assert "<script>alert" not in page.read_text()
    assert r"100\% \& \_more\_" in tex.read_text()


class Counted(dict[tuple[str, int], Result]):
    """Counts how often one of its results is looked at."""

    looks = 0

    def __getitem__(self, key: tuple[str, int]) -> Result:
        self.looks += 1
        return super().__getitem__(key)

    def get(self, key: tuple[str, int], default: Result | None = None) -> Result | None:  # type: ignore[override]
        self.looks += 1
        return super().get(key, default)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for key in super().__iter__():
            self.looks += 1
            yield key

    def items(self) -> Iterable[tuple[tuple[str, int], Result]]:  # type: ignore[override]
        return ((key, super(Counted, self).__getitem__(key)) for key in self)

    def values(self) -> Iterable[Result]:  # type: ignore[override]
        return (super(Counted, self).__getitem__(key) for key in self)


def test_a_frame_looks_at_each_result_and_hashes_each_configuration_a_few_times_however_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search's frame is made anew at each look at its leaderboard: quadratic, it would take minutes."""
    hashed: list[Configuration] = []
    monkeypatch.setattr("tclap.report.tables.config_hash", lambda c: (hashed.append(c), config_hash(c))[1])
    rows = [row("B", float(alpha)) for alpha in np.random.default_rng(0).random(200)]
    one = {name: Score(50.0, 40.0, 60.0, 90, 10.0) for name in (*COLUMNS, *EXTRA_COLUMNS)}
    results = Counted({(config_hash(c), 0): Result(config_hash(c), 0, one, 1.0, 1, "here") for c in rows})
    assert len(result_frame(rows, results)) == len(rows)
    assert 0 < results.looks <= 3 * len(rows)
    assert 0 < len(hashed) <= 3 * len(rows)


def test_what_was_stopped_early_says_so_everywhere_and_can_neither_win_nor_be_bold(
    frame_of: Frame, tmp_path: Path
) -> None:
    """It has the best numbers: those of a part of the steps."""
    frame = frame_of({(1, 0, 1e-3): [60.0], (0, 0, 1e-3): [50.0], (1, 1, 1e-3): [40.0]})
    frame["3A"] = [90.0, 80.0, 70.0]
    frame["stopped_at"] = [75.0, np.nan, np.nan]
    ranked = rank(frame, "zste/temporal", (), ("zste/temporal", "zste/1"))
    assert ranked["excluded"].tolist() == ["", "", "stopped at step 75"]
    assert ranked["front"].tolist() == [True, True, False]
    csv, md, html, _, tex = write_tables(frame, tmp_path / "t")
    assert pd.read_csv(csv)["stopped_at"].dropna().tolist() == [75]
    assert ",75," in csv.read_text()
    for file in (md, html, tex):
        assert "ours (1), stopped at step 75" in file.read_text()
    assert "**80.0**" in md.read_text()
    assert "**90.0**" not in md.read_text()
    notes = study_plots(frame, ("zste/temporal", "zste/1")).notes
    assert any("1 configurations that were stopped early" in note for note in notes)
