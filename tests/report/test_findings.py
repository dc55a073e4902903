"""The study's statistics and page: what rests on folds, what on seeds, what on neither; the paper beside it."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tclap.report.findings import (
    BEGIN,
    END,
    Claim,
    claims_table,
    differences,
    estimate,
    put_between_marks,
    range_table,
    row_table,
)
from tclap.report.findings_page import ALL, ESC50, NONE, claims, later_claims, page_of


def rows(values: dict[tuple[int, int], float]) -> pd.DataFrame:
    return pd.DataFrame([{"fold": fold, "seed": seed, "value": value} for (fold, seed), value in values.items()])


def test_folds_are_the_unit_and_seeds_of_one_fold_are_one_value() -> None:
    one = estimate(rows({(2, 0): 1.0, (2, 1): 3.0, (3, 0): 5.0, (4, 0): -1.0}))
    means = [2.0, 5.0, -1.0]
    assert one.mean == pytest.approx(np.mean(means))
    low, high = stats.t.interval(0.95, 2, loc=np.mean(means), scale=stats.sem(means))
    assert (one.mean - one.half, one.mean + one.half) == pytest.approx((low, high))
    assert one.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert (one.units, one.unit, one.agree) == (3, "fold", "3 of 4")


def test_folds_that_train_on_each_others_clips_have_wider_intervals_and_seeds_do_not() -> None:
    values = rows({(2, 0): 2.0, (3, 1): 5.0, (4, 2): 3.0})
    plain, corrected = estimate(values), estimate(values, test_per_train=0.5)
    assert corrected.half == pytest.approx(plain.half * np.sqrt(1 + 3 * 0.5))
    # By the formula of Nadeau and Bengio (2003).
    t = values["value"].mean() / np.sqrt((1 / 3 + 0.5) * values["value"].var(ddof=1))
    assert corrected.p == pytest.approx(2 * stats.t.sf(t, 2))
    seeds = rows({(4, 0): 1.0, (4, 1): 3.0})
    assert estimate(seeds, test_per_train=0.5) == estimate(seeds)


def test_what_does_not_vary_has_no_interval_and_agrees_with_nothing() -> None:
    same = estimate(rows({(4, 0): 0.0, (4, 1): 0.0, (4, 2): 0.0}))
    assert (same.mean, same.agree) == (0.0, "0 of 3")
    assert np.isnan([same.half, same.p]).all()
    table = claims_table(frame(), [Claim("?", "1", {"stage": "B"}, {"stage": "base"})])
    assert table.loc[0, ["difference", "95% interval", "p (Holm)"]].tolist() == ["-10.0", "none: no spread", "n/a"]
    assert row_table(frame(), ["stage"], ("3A",))["3A"].tolist()[1] == "20.0"  # B's, in every fold


def test_seeds_take_the_place_of_folds_and_one_of_each_has_no_interval() -> None:
    seeds = estimate(rows({(4, 0): 1.0, (4, 1): 3.0}))
    assert (seeds.units, seeds.unit) == (2, "seed")
    assert np.isfinite(seeds.half)
    alone = estimate(rows({(4, 0): 1.0}))
    assert alone.mean == 1.0
    assert np.isnan(alone.half)
    assert np.isnan(alone.p)


def frame() -> pd.DataFrame:
    """B and AB with no and all coefficients over three folds and two batch sizes; the base of each fold."""
    found = []
    for fold in (2, 3, 4):
        common = {"data": ESC50, "timing": "drawn", "row_o": "printed", "fold": fold, "seed": 0}
        found.append({**common, "stage": "base", "1": 40.0 + fold, "order/moved": 50.0})
        for stage in ("B", "AB"):
            for row, moved in ((NONE, 50.0), (ALL, 80.0)):
                for batch in (32, 128):
                    values = {"batch_size": batch, "1": 30.0 + fold, "3A": 20.0 + fold * (stage == "AB")}
                    values["order/moved"] = moved + fold + 10 * (stage == "AB") - batch / 32
                    found.append({**common, "stage": stage, **row, **values})
    return pd.DataFrame(found)


def test_a_difference_is_between_rows_that_are_equal_in_all_else() -> None:
    here = {"data": ESC50, "timing": "drawn"}
    found = differences(frame(), Claim("?", "order/moved", {**here, **ALL}, {**here, **NONE}, ("stage", "batch_size")))
    assert found["value"].tolist() == [30.0] * 12
    less_base = Claim("?", "1", {**here, "stage": ("B", "AB")}, {**here, "stage": "base"})
    assert set(differences(frame(), less_base)["value"]) == {-10.0}
    measures = differences(frame(), Claim("?", "order/moved", {**here, "stage": "base"}, "1"))
    assert measures["value"].tolist() == [8.0, 7.0, 6.0]
    assert differences(frame(), Claim("?", "1", here, {"data": "none"}, ("stage",))).empty


def test_claims_stand_beside_the_papers_and_say_what_contradicts_it() -> None:
    table = claims_table(frame(), claims()).set_index(["question", "measure"])
    stage_a = table.loc[("esc50: stage A helps: AB less B", "3A")]
    assert stage_a["difference"] == "+3.0"
    assert stage_a["over"] == "3 folds"
    assert stage_a["same sign"] == "3 of 3"
    assert float(stage_a["paper"].removesuffix(", contradicted")) > 0
    batch = table.loc[("esc50: batch size 128 less 32", "order/moved")]
    assert batch["difference"] == "-3.0"
    assert batch["paper"] == ""
    assert not [question for question, _ in table.index if "synthetic" in question or "unseen" in question]


def test_a_paper_row_with_the_other_sign_is_contradicted() -> None:
    worse = frame()
    worse.loc[worse["stage"] == "AB", "3A"] -= 20
    table = claims_table(worse, claims()).set_index(["question", "measure"])
    assert table.loc[("esc50: stage A helps: AB less B", "3A"), "paper"].endswith(", contradicted")


def test_the_page_says_what_was_not_run() -> None:
    nothing = page_of(pd.DataFrame(), 4, ["findings-a-fold2-seed0", "findings-a-fold3-seed0"])
    assert "2 of the 4 sweeps" in nothing
    assert "- `findings-a`: fold2-seed0, fold3-seed0" in nothing
    assert "Nothing has been run yet." in nothing
    page = page_of(frame(), 5, ["findings-c-seed1"], ["findings-d-seed2"])
    assert "Not finished, and in what follows with what they have:\n\n- `findings-d`: seed2\n" in page
    assert "Not run, so not in what follows:\n\n- `findings-c`: seed1\n" in page
    assert "### ESC-50, drawn timing\n" in page
    assert "### The paper's Table IV" in page
    assert "synthetic, drawn timing" not in page
    assert "| base | | | | | 43.0 ± 2.5 |" in re.sub(" +", " ", page)


def test_a_table_has_a_line_for_each_row_and_its_mean() -> None:
    table = row_table(frame(), ["stage"], ("1", "2A"))
    assert table["stage"].tolist() == ["base", "B", "AB"]
    assert "2A" not in table  # nobody measured it
    assert list(table) == ["stage", "1"]


def test_only_what_is_between_the_marks_is_replaced() -> None:
    once = put_between_marks("# Findings\n\nby hand\n", "first")
    assert once == f"# Findings\n\nby hand\n\n{BEGIN}\nfirst\n{END}\n"
    again = put_between_marks(once + "\nafter\n", "second")
    assert again == f"# Findings\n\nby hand\n\n{BEGIN}\nsecond\n{END}\n\nafter\n"


def test_single_runs_are_told_by_their_extremes_and_their_weakest_case() -> None:
    cases = {"order/change_0.1": [70.0, 90.0], "order/first_half": [55.0, 60.0], "order/last_half": [50.0, 95.0]}
    runs = pd.DataFrame({"stage": "B", "3A_order": [100.0, 98.0], "order/moved": [80.0, 85.0], **cases})
    (line,) = range_table(runs, ["stage"]).to_dict("records")
    assert line == {
        "stage": "B",
        "runs": "2",
        "3A_order": "98.0 to 100.0",
        "order/moved": "80.0 to 85.0",
        "change points": "70.0 to 90.0",
        "halves": "50.0 to 95.0",
        "weakest case": "50.0 to 60.0",
    }


def test_what_was_asked_later_is_a_family_of_its_own() -> None:
    midpoint = frame().assign(timing="midpoint")
    assert not set(map(str, later_claims())) & set(map(str, claims()))
    page = page_of(pd.concat([frame(), midpoint], ignore_index=True), 2, [])
    first, later = page.split("### Asked when half of it had run")
    assert "esc50: stage A helps" in first
    assert "esc50, midpoint: stage A helps" not in first
    assert "esc50, midpoint: stage A helps" in later
    alone = claims_table(midpoint, later_claims())
    assert page_of(midpoint, 2, []).count("esc50, midpoint:") == len(alone)


def test_an_interval_on_the_other_side_is_no_contradiction_before_holm() -> None:
    worse = frame()
    shift = np.where(worse["fold"] == 2, -6.0, np.where(worse["fold"] == 3, -10.0, -8.5))
    worse.loc[worse["stage"] == "AB", "3A"] = 20.0 + shift[worse["stage"] == "AB"]
    table = claims_table(worse, claims()).set_index(["question", "measure"])
    stage_a = table.loc[("esc50: stage A helps: AB less B", "3A")]
    assert stage_a["paper"].endswith(", other side")
    assert float(stage_a["p (Holm)"]) > 0.05
