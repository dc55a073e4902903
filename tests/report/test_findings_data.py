"""The csv beside the study's page: nothing in it is lost, every digit comes back, and what differs is named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tclap.errors import InputError
from tclap.report.findings_data import of_plan, read_study, unequal, updated, write_study
from tclap.report.findings_page import ESC50, page_of


def study(sweep: str, moved: tuple[float, ...], fold: int = 2) -> pd.DataFrame:
    """A base and one run for each of `moved`, with hashes h0, h1, ...; numbers with all of their digits."""
    place = {"sweep": sweep, "data": ESC50, "timing": "drawn", "row_o": "printed", "fold": fold, "seed": 0}
    alphas = {"alpha_st": 1.0, "alpha_ct": 0.0, "alpha_so": 1.0, "alpha_co": 0.0}
    runs = [
        {**place, "stage": "B", **alphas, "batch_size": 32 * 2**n, "1": 100 / 3, "order/moved": value}
        | {"config_hash": f"h{n}"}
        for n, value in enumerate(moved)
    ]
    return pd.DataFrame([*runs, {**place, "stage": "base", "1": 200 / 7, "order/moved": 50.0}])


def test_every_digit_comes_back_and_makes_the_same_page(tmp_path: Path) -> None:
    folds = [study(f"s{fold}", (0.1 + 0.2 + fold / 7, np.pi), fold) for fold in (2, 3, 4)]
    frame = pd.concat(folds, ignore_index=True)
    write_study(tmp_path / "study.csv", frame)
    back = read_study(tmp_path / "study.csv")
    pd.testing.assert_frame_equal(back, frame, check_exact=True)
    assert page_of(back, 3, []) == page_of(frame, 3, [])
    assert unequal(back, frame) == (9, [])


def test_there_is_nothing_before_the_first_sweep(tmp_path: Path) -> None:
    none = read_study(tmp_path / "none.csv")
    assert none.empty
    one = study("a", (1.0,))
    assert updated(none, one) is one
    assert updated(one, none) is one
    assert updated(one, pd.DataFrame()) is one
    assert unequal(none, one) == unequal(one, pd.DataFrame()) == (0, [])
    assert of_plan(none, {"a": {"h0"}}).empty


def test_a_run_takes_the_place_of_itself_alone() -> None:
    kept = pd.concat([study("b", (60.0, 70.0)), study("a", (80.0,))], ignore_index=True)
    fresh = study("b", (61.0,))
    both = updated(kept, fresh)
    found = {(row.sweep, row.config_hash): row["order/moved"] for _, row in both.dropna().iterrows()}
    assert found == {("a", "h0"): 80.0, ("b", "h0"): 61.0, ("b", "h1"): 70.0}
    assert (both["stage"] == "base").sum() == 2
    assert both["sweep"].is_monotonic_increasing


def test_a_digit_that_differs_is_seen_whether_in_a_run_or_in_a_base() -> None:
    kept = pd.concat([study("a", (60.0,)), study("b", (60.0,))], ignore_index=True)
    assert unequal(kept, study("a", (np.nextafter(60.0, 61),))) == (2, ["a"])
    changed = study("b", (60.0,))
    changed.loc[changed["stage"] == "base", "1"] = np.nan
    assert unequal(kept, changed) == (2, ["b"])
    assert unequal(kept, study("b", (60.0,)).assign(later=1.0)) == (2, [])  # a metric that came since
    assert unequal(kept.assign(steps_b=np.nan), study("b", (60.0,)).assign(steps_b=1500)) == (2, [])  # of all rows now


def test_only_what_the_plan_still_has_is_shown_in_its_order() -> None:
    frame = pd.concat([study("a", (60.0, 70.0)), study("b", (80.0,)), study("c", (90.0,))], ignore_index=True)
    shown = of_plan(frame, {"c": {"h0"}, "a": {"h1"}, "b": {"other"}, "d": {"h0"}})
    assert shown["sweep"].tolist() == ["c", "c", "a", "a"]
    assert shown["order/moved"].tolist() == [90.0, 50.0, 70.0, 50.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read as csv"),
        ("sweep,stage\na,B\n", "has no column 'config_hash': it is not the data of a study"),
        ("a,b\n1,2,3\n1,2,3,4\n", "cannot be read as csv"),
    ],
)
def test_another_file_in_its_place_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "findings.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"findings.csv {said}"):
        read_study(file)
