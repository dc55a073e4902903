"""The checker of `make chaos` finds what is lost, doubled or out of order, each in a history that is broken so."""

import json
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from tests.integration.checker import problems_of_runs, problems_of_study

STEPS = {"stage_a": 3, "trial": 4}


class History:
    """A parent, a stage-A run and a trial that starts from it, whole until a test breaks them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        self.experiment = self.client.create_experiment("tclap", artifact_location=(folder / "artifacts").as_uri())
        self.parent = self.client.create_run(self.experiment, tags={"sweep": "s", "kind": "sweep"})
        self.client.set_terminated(self.parent.info.run_id)
        self.stage_a = self.child("stage_a", "aaa", range(1000, 1003))
        self.trial = self.child("trial", "bbb", range(2000, 2004), self.stage_a)

    def child(self, kind: str, name: str, times_ms: range, parent: Run | None = None) -> Run:
        tags = {"sweep": "s", "kind": kind, "config_hash": name, "seed": "0", "done": "true"}
        tags |= {"stage_a_run": parent.info.run_id} if parent else {}
        run = self.client.create_run(self.experiment, tags=tags)
        losses = [Metric("train/loss", 1.0, ms, step) for step, ms in enumerate(times_ms)]
        self.client.log_batch(run.info.run_id, [*losses, Metric("zste/1", 50.0, times_ms[-1], 0)])
        for file in ("model.safetensors", "config.json"):
            (self.folder / file).write_text("{}")
            self.client.log_artifact(run.info.run_id, str(self.folder / file), "checkpoint")
        self.client.set_terminated(run.info.run_id)
        place = self.folder / "trials" / name / "seed-0"
        place.mkdir(parents=True, exist_ok=True)
        result = {"config_hash": name, "seed": 0, "run_id": run.info.run_id}
        (place / "result.json").write_text(json.dumps(result))
        return run

    def problems(self) -> list[str]:
        return problems_of_runs(self.client, "s", self.folder, STEPS)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def test_a_whole_history_has_no_problems(history: History) -> None:
    assert history.problems() == []


def test_a_run_that_still_runs(history: History) -> None:
    history.client.update_run(history.trial.info.run_id, "RUNNING")
    assert history.problems() == [f"{history.trial.info.run_id} is RUNNING"]


def test_a_lost_run(history: History) -> None:
    history.client.delete_run(history.trial.info.run_id)
    assert history.problems() == ["bbb seed 0 has a result and no run"]


def test_a_lost_result(history: History) -> None:
    (history.folder / "trials" / "bbb" / "seed-0" / "result.json").unlink()
    assert history.problems() == ["bbb seed 0 has a run and no result"]


def test_a_doubled_run(history: History) -> None:
    again = history.child("trial", "bbb", range(2000, 2004), history.stage_a)
    assert again.info.run_id != history.trial.info.run_id
    assert "bbb seed 0 has 2 runs" in history.problems()
    assert f"{history.trial.info.run_id} is not the run that the result of bbb seed 0 names" in history.problems()


def test_a_second_parent(history: History) -> None:
    run = history.client.create_run(history.experiment, tags={"sweep": "s", "kind": "sweep"})
    history.client.set_terminated(run.info.run_id)
    assert history.problems() == ["2 parent runs"]


def test_a_step_that_was_logged_twice(history: History) -> None:
    history.client.log_metric(history.trial.info.run_id, "train/loss", 0.5, 3000, step=2)
    assert history.problems() == [f"{history.trial.info.run_id} has 2 losses of step 2"]


def test_a_step_too_many(history: History) -> None:
    history.client.log_metric(history.trial.info.run_id, "train/loss", 0.5, 3000, step=4)
    assert history.problems() == [f"{history.trial.info.run_id} has losses of step 4, and 4 steps"]


def test_lost_steps(history: History) -> None:
    run = history.child("stage_a", "ccc", range(1000, 1002))
    assert history.problems() == [f"{run.info.run_id} lacks the losses of 1 steps from 2 on"]


def test_a_child_before_its_stage_a(history: History) -> None:
    run = history.child("trial", "ccc", range(900, 904), history.stage_a)
    assert history.problems() == [f"{run.info.run_id} began before its stage A had ended"]


def test_a_study_with_a_point_twice_and_a_trial_that_still_runs() -> None:
    study = optuna.create_study()
    distributions = {"beta": optuna.distributions.IntDistribution(0, 1)}
    for beta in (0, 1):
        study.add_trial(optuna.create_trial(params={"beta": beta}, distributions=distributions, value=1.0))
    assert problems_of_study(study, 2) == []
    study.add_trial(optuna.create_trial(params={"beta": 1}, distributions=distributions, value=1.0))
    study.ask(distributions)
    assert problems_of_study(study, 2) == [
        "trial 3 is RUNNING",
        '{"beta": 1} was told 2 times',
        "3 trials are complete, and 2 configurations are done",
    ]
