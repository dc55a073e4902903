"""Searches through Ray: a real one end to end, and the whole space with a stand-in for training."""

import functools
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
from tclap.lanes import waves
from tclap.lanes.searcher import StudySearcher
from tclap.lanes.worker import Sweep
from tclap.search_flags import SearchSettings
from tclap.sweep import study as studies
from tests.integration.conftest import REPO, TINY, run

SPACE = SearchSettings(batch_sizes=(128, 256, 512), _cli_parse_args=False)


@pytest.fixture(scope="module")
def searched(finished, root, cluster):
    """A search that had one configuration, and then goes on to two; (its folder, the second process)."""
    for trials in ("1", "2"):
        process = search(finished, root, cluster, "--trials", trials)
        assert process.returncode == 0, process.stdout + process.stderr
    return finished[0] / "search", process


def search(finished, root, cluster, *flags):
    command = ("sweeps/search.py", "--data", root, "--storage", finished[0], "--start-with", "table4")
    return run(*command, *TINY, *flags, env=cluster.env)


def test_a_search_goes_on_with_more_trials_and_logs_plots_and_leaderboard(searched, cluster):
    folder, process = searched
    table = pd.read_csv(folder / "search.csv")
    first_rows = [("B", 0, 0, 0, 0, 1), ("B", 1, 0, 1, 0, 1)]
    assert [tuple(row) for row in table.iloc[:, :6].itertuples(index=False)] == first_rows
    assert "[2/2]" in process.stdout
    assert "[1/2]" not in process.stdout
    journal = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    study = optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(journal))
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2
    assert [d.name for d in study.directions] == ["MAXIMIZE"] * 2
    client = MlflowClient(cluster.tracking)
    experiment = client.get_experiment_by_name("tclap")
    runs = client.search_runs([experiment.experiment_id], "tags.sweep = 'search'")
    assert sorted(r.data.tags["kind"] for r in runs) == ["stage_a", "sweep", "trial", "trial"]
    assert {r.info.status for r in runs} == {"FINISHED"}
    trials = {r.data.tags["config_hash"]: r.data.metrics for r in runs if r.data.tags["kind"] == "trial"}
    logged = sorted([m["zste/order"], m["zste/1"]] for m in trials.values())
    assert sorted(t.values for t in study.trials) == logged
    (parent,) = (r for r in runs if r.data.tags["kind"] == "sweep")
    artifacts = {a.path for a in client.list_artifacts(parent.info.run_id)}
    plots = {"pareto_front.html", "param_importances.html", "parallel_coordinate.html", "optimization_history.html"}
    assert plots | {"search.csv", "leaderboard.csv", "leaderboard.md", "leaderboard.html"} <= artifacts


def test_the_same_search_again_runs_nothing(searched, finished, root, cluster):
    before = (searched[0] / "search.csv").read_bytes()
    process = search(finished, root, cluster, "--trials", "2")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "base model and features" not in process.stdout  # which is when Ray has started
    assert (searched[0] / "search.csv").read_bytes() == before


def test_other_settings_under_the_same_name_are_refused_with_both_shown(searched, finished, root, cluster):
    process = search(finished, root, cluster, "--lr", "0.5")
    assert process.returncode == 2
    assert "the name search stands for another sweep" in process.stderr
    assert "lr was 0.001, now 0.5" in process.stderr


def stand_in_objectives(configuration):
    c = configuration.coefficients
    return {"zste/order": 40.0 + 30 * c.alpha_st, "zste/1": 70.0 - 9 * c.beta}


def stand_in(point, sweep):
    """Instead of training: scores that follow from the configuration, and a line in a file."""
    configuration = Configuration.model_validate_json(point["configuration"])
    with (Path(sweep.folder) / "ran.txt").open("a") as ran:
        ran.write(configuration.model_dump_json() + "\n")
    scores = {f"zste/{name}": 50.0 for name in ("3A", "3A_order")}
    tune.report({"outcome": "done", **scores, **stand_in_objectives(configuration)})


def told_before(ran, point):
    """The objectives of a point that ran, else None."""
    configuration = SPACE.at(point)
    if not ran.exists() or configuration.model_dump_json() not in ran.read_text().splitlines():
        return None
    return list(stand_in_objectives(configuration).values())


class Stop(tune.Callback):
    """Asks the searcher to end after so many trials, as Ctrl-C does."""

    def __init__(self, flag, after):
        self._flag, self._left = flag, after

    def on_trial_complete(self, iteration, trials, trial, **info):
        self._left -= 1
        if self._left == 0:
            self._flag.touch()


@pytest.mark.slow
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
        "allow_missing": False,
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
            place = tmp_path / "study.journal"
            study = studies.open_study("all", place, "nsga2", 0, SPACE.objectives, SPACE.identity())
            studies.take_up(study, choices, functools.partial(told_before, tmp_path / "ran.txt"))
            searcher = StudySearcher(study, choices, SPACE.at, SPACE.objectives, 1000, False, 0, flag.exists)
            waves.run_searcher(searcher, sweep, 2, Stop(flag, after))
            ran = (tmp_path / "ran.txt").read_text().splitlines()
            assert (len(ran) < 100) == (after == 70)
    finally:
        ray.shutdown()
    assert len(ran) == len(set(ran)) == 192
    done = [json.dumps(t.params, sort_keys=True) for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(done) == len(set(done)) == 192
