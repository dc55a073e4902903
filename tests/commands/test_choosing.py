"""What `tclap best` says of a winner that is tied, or has one seed, and how it names a metric; guards in a report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tclap.commands import choosing
from tclap.commands.choosing import Best, Report, _rank
from tclap.config import Configuration, LossCoefficients, OptimiserSettings, config_hash
from tclap.console import console
from tclap.report.tables import SHOWN
from tclap.sweep.stopping import parse_guard
from tclap.tracking import champion, final_scores, read
from tclap.tracking.read import SweepRecord, Trial

METRIC = "zste/order"


def row(alpha: float) -> Configuration:
    return Configuration(
        stages="B", batch_size=8, coefficients=LossCoefficients(alpha_st=alpha), optimiser_b=OptimiserSettings()
    )


def said(values: dict[float, list[float]]) -> str:
    """values: α_st -> the metric of seeds 0, 1, ..."""
    trials = [
        Trial(f"run-{alpha}-{seed}", row(alpha), seed, {METRIC: value, "zste/1": 50.0})
        for alpha, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]
    with console.capture() as captured:
        _rank(SweepRecord("s", "parent", {}, {}, "table4", (), tuple(trials)), METRIC, ())
    return " ".join(captured.get().split())


def test_a_tie_is_said_with_who_else_has_that_score_and_so_is_a_single_seed() -> None:
    text = said({0: [40.0], 1: [90.0], 0.5: [90.0]})
    assert f"winner: {config_hash(row(1))} B α 1 1 1 1 β 1 batch 8, {METRIC} 90.0, one seed, tied with 1 other" in text
    assert f"note: {config_hash(row(0.5))} has the same {METRIC}; the winner is the one that stands first" in text
    assert "note: one seed, so nothing says how much of a difference is chance" in text


def test_a_clear_winner_of_several_seeds_has_no_note() -> None:
    text = said({0: [40.0, 41.0, 40.0], 1: [90.0, 91.0, 92.0]})
    assert f"{METRIC} 91.0 ± 2.5" in text
    assert "note:" not in text
    assert "understates how much results vary" in text


class Registered(Exception):
    """What `tclap best` does after it registers a model needs a registry."""


@pytest.fixture
def registered_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, dict[str, str]]]:
    """The run that `tclap best` would register of a sweep, and why."""

    def registered_of(sweep: SweepRecord, **flags: Any) -> tuple[str, dict[str, str]]:
        def register(client: object, uri: str, trial: Trial, why: dict[str, str]) -> None:
            raise Registered(trial.run_id, why)

        monkeypatch.setattr(read, "existing_store", lambda storage: (None, "1", "sqlite:///mlflow.db"))
        monkeypatch.setattr(read, "read_sweep", lambda *_: sweep)
        monkeypatch.setattr(final_scores, "scores_on_test_folds", lambda *_: None)
        monkeypatch.setattr(choosing, "_print_test_scores", lambda *_: None)
        monkeypatch.setattr(champion, "register", register)
        with pytest.raises(Registered) as stopped, console.capture():
            Best(name="s", **flags).cli_cmd()
        return stopped.value.args

    return registered_of


@pytest.mark.parametrize("metric", ["order/moved", "zste/order/moved"])
def test_a_metric_has_one_name_from_the_ranking_to_the_registry(
    registered_of: Callable[..., tuple[str, dict[str, str]]], metric: str
) -> None:
    """MLflow calls it order/moved on a run and zste_test/order/moved after the test folds."""
    trials = tuple(
        Trial(f"run-{alpha}", row(alpha), 0, {"order/moved": moved, METRIC: 50.0, "zste/1": 50.0})
        for alpha, moved in ((0, 40.0), (1, 90.0))
    )
    run, why = registered_of(SweepRecord("s", "parent", {}, {}, "table4", (), trials), metric=metric)
    assert (run, why["metric"]) == ("run-1", "order/moved")


@pytest.mark.parametrize(
    ("given", "run", "held"), [((), "run-1", "zste/1>=70"), (("zste/1>=50",), "run-0", "zste/1>=50")]
)
def test_the_guards_of_the_sweep_hold_unless_others_are_given(
    registered_of: Callable[..., tuple[str, dict[str, str]]], given: tuple[str, ...], run: str, held: str
) -> None:
    trials = tuple(
        Trial(f"run-{alpha}", row(alpha), 0, {METRIC: order, "zste/1": kept})
        for alpha, order, kept in ((0, 90.0, 60.0), (1, 80.0, 75.0))
    )
    guards = (parse_guard("zste/1>=70"),)
    sweep = SweepRecord("s", "p", {}, {}, "search", (METRIC, "zste/1"), trials, guards=guards)
    registered, why = registered_of(sweep, guard=given)
    assert (registered, why["guards"]) == (run, held)


def test_a_report_ranks_by_the_guards_of_the_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forgetful = {**{f"zste/{name}": 50.0 for name in SHOWN}, METRIC: 90.0, "zste/1": 60.0}
    trials = tuple(
        Trial(f"run-{alpha}", row(alpha), 0, metrics)
        for alpha, metrics in ((0, forgetful), (1, {**forgetful, METRIC: 80.0, "zste/1": 75.0}))
    )
    found = SweepRecord("s", "p", {}, {}, "search", (METRIC, "zste/1"), trials, guards=(parse_guard("zste/1>=70"),))
    monkeypatch.setattr(read, "existing_store", lambda storage: (None, "1", "sqlite:///mlflow.db"))
    monkeypatch.setattr(read, "read_sweep", lambda *_: found)
    monkeypatch.setattr(SweepRecord, "about", lambda *_: None)
    with console.capture():
        Report(name="s", out=tmp_path).cli_cmd()
    leaderboard = pd.read_csv(tmp_path / "leaderboard.csv")
    assert leaderboard["config_hash"].tolist() == [config_hash(row(1)), config_hash(row(0))]
    assert leaderboard["excluded"].iloc[1] == "zste/1>=70 does not hold"
