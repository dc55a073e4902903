"""Searches through Ray: a real one end to end, and the whole space with a stand-in for training."""

import json
import os
import signal
import subprocess
import sys
import time

import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from tests.integration.checker import problems_of_study
from tests.integration.conftest import REPO, TINY, run, run_here


@pytest.fixture(scope="module")
def searched(finished, root, cluster):
    """A search that had one configuration, and then goes on to two; (its folder, the second process)."""
    for trials in ("1", "2"):
        process = search(finished, root, cluster, "--trials", trials)
        assert process.returncode == 0, process.stdout + process.stderr
    return finished[0] / "search", process


def search(finished, root, cluster, *flags, how=run):
    command = ("sweeps/search.py", "--data", root, "--storage", finished[0], "--start-with", "table4")
    return how(*command, *TINY, *flags, env=cluster.env)


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
    assert problems_of_study(study, 2) == []
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
    assert {"report.html", "search.csv", "leaderboard.csv", "leaderboard.md", "leaderboard.html"} <= artifacts


def test_the_same_search_again_runs_nothing(searched, finished, root, cluster):
    before = (searched[0] / "search.csv").read_bytes()
    process = search(finished, root, cluster, "--trials", "2", how=run_here)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "base model and features" not in process.stdout  # which is when Ray has started
    assert (searched[0] / "search.csv").read_bytes() == before


def test_other_settings_under_the_same_name_are_refused_with_both_shown(searched, finished, root, cluster):
    process = search(finished, root, cluster, "--lr", "0.5", how=run_here)
    assert process.returncode == 2
    assert "the name search stands for another sweep" in process.stderr
    assert "lr was 0.001, now 0.5" in process.stderr


WHOLE = """
import sys, ray
from benchmarks.stand_in import runtime_env
from tclap.console import run_or_exit
from tclap.lanes.search import run_search
from tclap.search_flags import SearchSettings
settings = SearchSettings(_cli_parse_args=sys.argv[1:])
ray.init(num_cpus=2, runtime_env=runtime_env(0.0), log_to_driver=False, logging_level="CRITICAL")
run_or_exit(lambda: run_search(settings))
"""


@pytest.mark.slow
def test_the_whole_space_through_ray_interrupted_and_resumed(root, tmp_path):
    """192 configurations, each once, in two goes, with a stand-in for training."""
    space = ("--batch-sizes", "4,5,6", "--trials", "1000", "--sampler", "nsga2", "--objectives", "zste/temporal,zste/1")
    command = [sys.executable, "-c", WHOLE, "--data", root, "--storage", tmp_path, "--name", "all", *space]
    env = {**os.environ, "RAY_ADDRESS": "local", "PYTHONPATH": str(REPO)}
    first = subprocess.Popen([str(part) for part in command], env=env, cwd=REPO, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list((tmp_path / "all").glob("trials/*/seed-0/result.json"))) < 70:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    assert first.wait(120) == 130
    process = run(*command[1:], env=env)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "the space is spent" in process.stdout
    table = pd.read_csv(tmp_path / "all" / "search.csv")
    assert len(table) == len(table.iloc[:, :7].drop_duplicates()) == 192
    journal = optuna.storages.journal.JournalFileBackend(str(tmp_path / "all" / "study.journal"))
    study = optuna.load_study(study_name="all", storage=optuna.storages.JournalStorage(journal))
    done = [json.dumps(t.params, sort_keys=True) for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(done) == len(set(done)) == 192
