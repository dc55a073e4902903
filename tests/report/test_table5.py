import pandas as pd
import pytest

from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS
from tclap.report.table5 import ScoredModel, frame, printed_columns, table_grid, write

SCORES = {"1": Score(50.0, 40.0, 60.0, 12, 16.7), "3A_order": Score(61.2, 50.0, 70.0, 60, 50.0)}
LIST = [
    ScoredModel("mine:build", SCORES),
    ScoredModel("msclap-2022=random", {**SCORES, "order/gap": Score(1.0, 0.0, 2.0, 3, 50.0)}, untrained=True),
    ScoredModel("laion", problem="no <weights> here"),
]


def test_the_papers_six_columns_are_whole():
    printed = printed_columns()
    assert list(printed) == ["ML-ACT", "CLAP", "CLAP-LAION", "CompA-CLAP", "T-CLAP B", "T-CLAP AB"]
    assert all(set(COLUMNS) == column.keys() for column in printed.values())
    assert printed["T-CLAP AB"]["3A"] == 54.56
    assert printed["CLAP"]["5A"] == 26.0


def test_each_model_is_a_row_beside_the_papers():
    grid = table_grid(LIST)
    rows = [[cell.text + cell.marks for cell in line.cells] for line in grid.lines]
    shown = pd.DataFrame(rows, columns=grid.headers).set_index("model")
    assert list(shown.index[:4]) == ["mine:build", "msclap-2022=random", "laion", "chance"]
    assert len(shown) == 4 + 6
    assert shown.loc["mine:build", "3A_order"] == "61.2 (50-70)"
    assert shown.loc["mine:build", "order/gap"] == ""
    assert shown.loc["msclap-2022=random", "note"] == "random weights: means nothing"
    assert shown.loc["laion", "note"] == "not scored"
    assert shown.loc["chance", "1"] == "16.7"
    assert shown.loc["paper CLAP", "5A"] == "26.00†"
    assert [line.origin for line in grid.lines] == ["ours"] * 3 + ["chance"] + ["paper"] * 6


def test_the_csv_has_a_line_for_each_score_and_for_each_model_without():
    lines = frame(LIST)
    assert lines.groupby("model").size().to_dict() == {"mine:build": 2, "msclap-2022=random": 3, "laion": 1}
    assert lines.set_index("model").loc["laion", "note"] == "no <weights> here"


def test_files_say_why_a_model_is_not_scored(tmp_path):
    csv, md, page = write(LIST, tmp_path / "table5")
    assert len(pd.read_csv(csv)) == 6
    assert "laion is not scored: no <weights> here" in md.read_text()
    assert "| *paper* CLAP " in md.read_text()
    assert "sounds lie where drawn timing has them" in md.read_text()
    assert "sounds lie where midpoint timing has them" in write(LIST, tmp_path / "paper", "midpoint")[1].read_text()
    text = page.read_text()
    assert "no &lt;weights&gt; here" in text
    assert text.count("<tr class=ours>") == 3
    assert text.count("<tr class=chance><td class=fixed>chance<") == 1
    assert text.count("<tr class=paper><td class=fixed>paper ") == 6
    assert "*paper*" not in text
    assert "26.00<sup>†</sup>" in text


@pytest.mark.parametrize("scored", [[], [ScoredModel("laion", problem="away")]])
def test_a_list_without_scores_is_still_a_table(scored, tmp_path):
    assert "CompA-CLAP" in write(scored, tmp_path / "t")[1].read_text()
