"""`tclap pause`, `runs` and `stop` beside a running sweep: nothing is lost and no step is logged twice."""

import os
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient

from tclap.places import STATE
from tclap.sweep import steering
from tclap.sweep.live import RUNNING, read_live
from tests.integration.conftest import REPO, TINY, rows_program, run

STEPS = 1500
ROWS = [("B", {"alpha_st": 0}), ("B", {})]
PATIENCE_S = 400


@pytest.mark.slow
def test_a_job_is_paused_and_the_sweep_stopped_and_both_go_on_with_the_same_command(root, tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    folder = tmp_path / "runs" / "steered"
    flags = [*TINY, "--concurrent-trials", "1", "--steps-b", STEPS, "--data", root, "--storage", folder.parent]
    command = ["-c", rows_program(ROWS), *flags, "--name", folder.name]
    env = {"MLFLOW_TRACKING_URI": uri}

    def tclap(*arguments):
        done = run("-m", "tclap", *arguments, "--storage", folder.parent, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def running(besides=""):
        """The job that is in the middle of its steps; waits for one."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            assert process.poll() is None, log.read_text()
            snapshot = read_live(folder)
            for job in snapshot.jobs if snapshot else ():
                if job.state == RUNNING and 60 < job.step < STEPS and job.hash != besides:
                    return job.hash
            time.sleep(0.2)
        raise AssertionError(f"no job runs: {log.read_text()}")

    log = tmp_path / "log"
    with log.open("w") as said:
        given = {**os.environ, "RAY_ADDRESS": "local", **env}
        given.pop("PYTHONPATH", None)
        process = subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=REPO, env=given, stdout=said, stderr=subprocess.STDOUT
        )
        first = running()
        steering.pause(folder, first)  # as the command does, which takes seconds to start
        second = running(besides=first)  # the only lane has put the first one down
        assert (folder / "trials" / first / "seed-0" / STATE).exists()
        steering.pause(folder, None)
        until = time.monotonic() + PATIENCE_S
        while any(job.state == RUNNING for job in read_live(folder).jobs):
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        assert (folder / "trials" / second / "seed-0" / STATE).exists()
        assert "2 paused" in tclap("runs", folder.name)
        assert process.poll() is None  # it waits
        tclap("resume", folder.name)
        running()
        tclap("stop", folder.name)
        assert process.wait(PATIENCE_S) == 130, log.read_text()
    assert "no process runs it now" in tclap("runs", folder.name)

    again = run(*command, env=env)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "receipt: " in again.stdout
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tclap")
    trials = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    assert sorted(t.data.tags["config_hash"] for t in trials) == sorted([first, second])
    for trial in trials:
        history = client.get_metric_history(trial.info.run_id, "train/loss")
        assert [metric.step for metric in history] == list(range(STEPS))
        assert trial.info.status == "FINISHED"
