"""A list and a search that stop early, through the driver, in one process: only what is Ray's own is stood in for."""

import json
import re
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tclap.config import LossCoefficients
from tclap.flags import SweepSettings
from tclap.lanes.driver import run_sweep
from tclap.lanes.search import run_search
from tclap.search_flags import SearchSettings
from tclap.tracking.page import VIEW_TAG

NEVER = ("zste/1>=101",)  # a guard that always fails
SMALL = {"takes": 1, "eval_takes": 1, "base_steps": 5, "steps_a": 2, "steps_b": 5, "batch_sizes": (6,)}


def experiment_view(storage: Path) -> dict[str, Any]:
    """What the leaderboard's link opens in MLflow."""
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    tags = client.get_experiment_by_name("tclap").tags
    (state,) = (value for key, value in tags.items() if key.startswith(VIEW_TAG))
    return json.loads(state)


def test_a_list_stops_runs_nothing_again_and_goes_on_as_if_never_stopped(
    root: Path, tmp_path: Path, began: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, **flags: object) -> int:
        settings = SweepSettings(data=root, storage=tmp_path, name=name, seeds=(0, 1), **SMALL, **flags)
        return run_sweep(settings, [settings.configuration("AB", LossCoefficients(), 6)], "table4")

    table = tmp_path / "early" / "table4.csv"
    assert run("early", stop_early=True, guard=NEVER) == 0
    assert len(began) == 2  # with stage A
    said = capsys.readouterr().out
    assert "stopped at step 1" in said
    assert re.search(r"stopped early: 1 trial, which saved 9 steps, \d+\.\d min of training", said)
    assert "best: none can win" in said
    assert pd.read_csv(table)["stopped_at"].tolist() == [1]  # the other seed did not run
    assert run("early", stop_early=True, guard=NEVER) == 0
    assert len(began) == 2
    assert "nothing left to do" in capsys.readouterr().out
    assert run("early") == 0
    assert len(began) == 3
    assert run("whole") == 0
    assert table.read_bytes() == (tmp_path / "whole" / "table4.csv").read_bytes()
    assert len(pd.read_csv(table)) == 2


def test_a_search_tells_its_study_what_was_stopped_and_tries_it_again_without_the_flag(
    root: Path, tmp_path: Path, began: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(**flags: object) -> optuna.study.Study:
        settings = SearchSettings(
            data=root,
            storage=tmp_path,
            trials=2,
            sampler="random",
            stages=("B",),
            **SMALL,
            **flags,
            _cli_parse_args=False,
        )
        assert run_search(settings) == 0
        storage = JournalStorage(JournalFileBackend(str(tmp_path / "search" / "study.journal")))
        return optuna.load_study(study_name="search", storage=storage)

    study = run(stop_early=True, guard=NEVER)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2
    assert [trial.constraints for trial in study.trials] == [{"stopped_early": 0.8}] * 2
    assert study.best_trials == []
    said = capsys.readouterr().out
    assert "best so far" not in said, "what was stopped is not the best"
    view = experiment_view(tmp_path)
    assert "params.`coefficients.alpha_st`" in view["selectedColumns"], "known before anything has been tried"
    assert "stopped at step 1" in (tmp_path / "search" / "leaderboard.md").read_text()
    run(stop_early=True, guard=NEVER)
    assert len(began) == 2
    capsys.readouterr()
    study = run()
    said = capsys.readouterr().out
    ended = [line for line in said.splitlines() if line.startswith("[")]
    assert "best so far" in ended[0]
    assert "best so far" in ended[1] or re.search(r"  best \d+\.\d \(", ended[1])
    assert "search: leaderboard" in said
    assert began[2:] == began[:2]
    whole = [trial for trial in study.trials if not trial.constraints]
    assert {trial.number for trial in study.best_trials} <= {trial.number for trial in whole}
    assert len(whole) == 2
    assert "stopped" not in (tmp_path / "search" / "leaderboard.md").read_text()
