"""Searches through Ray: a real one end to end, and the whole space with a stand-in for training."""

import json
from pathlib import Path

import optuna
import pandas as pd
import pytest
import ray
from mlflow import MlflowClient
from optuna.trial import TrialState
from ray import tune

from tclap.config import Configuration
from tclap.orchestrate import study as studies
from tclap.orchestrate import waves
from tclap.orchestrate.searcher import StudySearcher
from tclap.orchestrate.trial import Sweep
from tclap.search_settings import SearchSettings
from tests.integration.conftest import REPO, TINY, run

SPACE = SearchSettings(batch_sizes=(128, 256, 512), _cli_parse_args=False)
FLAGS = ("--trials", "3", "--start-with", "table4", "--seed", "1", *TINY)


@pytest.fixture(scope="module")
def searched(root, tmp_path_factory):
    """A search of three configurations that was killed at two, and then went on."""
    storage = tmp_path_factory.mktemp("storage")
    command = ("sweeps/search.py", "--data", root, "--storage", storage)
    for trials in ("2", "3"):
        process = run(*command, "--trials", trials, *FLAGS[2:])
        assert process.returncode == 0, process.stdout + process.stderr
    return storage / "search", process


def test_a_search_goes_on_with_more_trials_and_logs_plots_and_leaderboard(searched):
    folder, process = searched
    table = pd.read_csv(folder / "search.csv")
    assert len(table) == 3
    assert list(table["stage"]) == ["B", "B", "B"]  # the first rows of Table IV
    assert "[3/3]" in process.stdout
    assert "[2/3]" not in process.stdout
    study = optuna.load_study(
        study_name="search",
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
        ),
    )
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 3
    assert [d.name for d in study.directions] == ["MAXIMIZE"] * 2
    client = MlflowClient(f"sqlite:///{folder.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tclap")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(r.data.tags["kind"] for r in runs) == ["stage_a", "sweep", "trial", "trial", "trial"]
    assert {r.info.status for r in runs} == {"FINISHED"}
    values = {r.data.tags["config_hash"]: r.data.metrics["zste/temporal"] for r in runs if "seed" in r.data.tags}
    assert {t.values[0] for t in study.trials} <= set(values.values())
    (parent,) = (r for r in runs if r.data.tags["kind"] == "sweep")
    artifacts = {a.path for a in client.list_artifacts(parent.info.run_id)}
    plots = {"pareto_front.html", "param_importances.html", "parallel_coordinate.html", "optimization_history.html"}
    assert plots | {"search.csv", "leaderboard.csv", "leaderboard.md", "leaderboard.html"} <= artifacts


def test_other_settings_under_the_same_name_are_refused_with_both_shown(searched, root):
    folder, _ = searched
    process = run("sweeps/search.py", "--data", root, "--storage", folder.parent, *FLAGS, "--lr", "0.5")
    assert process.returncode == 2
    assert "the name search stands for another sweep" in process.stderr
    assert "lr was 0.001, now 0.5" in process.stderr


def stand_in(point, sweep):
    """Instead of training: scores that follow from the configuration, and a line in a file."""
    configuration = Configuration.model_validate_json(point["configuration"])
    with (Path(sweep.folder) / "ran.txt").open("a") as ran:
        ran.write(configuration.model_dump_json() + "\n")
    scores = {f"zste/{name}": 50.0 for name in ("3A", "3A_order")}
    c = configuration.coefficients
    tune.report({"outcome": "done", **scores, "zste/temporal": 40.0 + 30 * c.alpha_st, "zste/1": 70.0 - 9 * c.beta})


class Stop(tune.Callback):
    """Asks the searcher to end after so many trials, as Ctrl-C does."""

    def __init__(self, flag, after):
        self._flag, self._left = flag, after

    def on_trial_complete(self, iteration, trials, trial, **info):
        self._left -= 1
        if self._left == 0:
            self._flag.touch()


def test_the_whole_space_through_ray_interrupted_and_resumed(tmp_path, monkeypatch):
    """192 configurations, each once, in two goes."""
    monkeypatch.setattr(waves, "run_trial", stand_in)
    monkeypatch.setenv("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
    plain = {"data": "", "dataset_digest": "", "cache": "", "seeds": (0,), "workers": 1, "gpus_per_worker": 0.0}
    unused = {
        "origin": None,
        "chunk": None,
        "retrieval": {},
        "tracking_uri": "",
        "experiment_id": "",
        "parent_run_id": "",
    }
    sweep = Sweep(name="all", folder=str(tmp_path), **plain, **unused)
    choices, flag = SPACE.choices(), tmp_path / "stop"
    ray.init(address="local", num_cpus=2, runtime_env={"env_vars": {"PYTHONPATH": str(REPO)}}, log_to_driver=False)
    try:
        for after in (70, 1000):
            flag.unlink(missing_ok=True)
            study = studies.open_study("all", tmp_path / "study.journal", "nsga2", 0, SPACE.objectives)
            studies.take_up(study, choices, lambda point: None)
            searcher = StudySearcher(study, choices, SPACE.at, SPACE.objectives, 1000, False, 0, flag.exists)
            waves.run_searcher(searcher, sweep, 2, Stop(flag, after))
            ran = (tmp_path / "ran.txt").read_text().splitlines()
            assert (len(ran) < 100) == (after == 70)
    finally:
        ray.shutdown()
    assert len(ran) == len(set(ran)) == 192
    done = [json.dumps(t.params, sort_keys=True) for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(done) == len(set(done)) == 192
