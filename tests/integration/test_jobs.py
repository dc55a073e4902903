"""`ray job submit` from a clean folder, to a cluster with token authentication; test_sweep.py looks at the results."""

import json
import re
import time

import pytest
from mlflow import MlflowClient

from tests.integration.conftest import COMMIT, TINY, ray_job, submit
from tests.integration.services import status


def test_job_succeeds_and_uses_the_clusters_tracking_server(finished, cluster):
    assert re.search(r"Job '\w+' succeeded", finished[1].stdout)
    assert f"then open {cluster.tracking}/#/experiments/" in finished[1].stdout


def test_what_is_shipped_is_the_code_only(finished, cluster):
    (shipped,) = cluster.ray_folder.glob("session_2*/runtime_resources/working_dir_files/_ray_pkg_*/")
    files = [path.relative_to(shipped) for path in shipped.rglob("*") if path.is_file()]
    assert {"table4.py", "sweep.py", "published.csv"} <= {path.name for path in files}
    assert "large.bin" not in {path.name for path in files}
    assert sum((shipped / path).stat().st_size for path in files) < 3_000_000


def test_commit_is_what_the_submitter_says(runs):
    assert {run.data.tags["git_commit"] for run in runs[1]} == {COMMIT}  # without .git, nothing else would know it


def test_files_lie_in_shared_storage_and_not_in_the_jobs_folder(finished, cluster):
    sweep = cluster.storage / "table4"
    assert (sweep / "table4.csv").read_text().count("\n") == 1 + 16
    assert len(list(sweep.glob("trials/*/seed-*/checkpoint/model.safetensors"))) == 18
    results = {"table4.csv", "model.safetensors", "mlflow.db", "result.json"}
    found = [path for path in cluster.ray_folder.rglob("*") if path.name in results]
    assert [path for path in found if "tests" not in path.parts] == []  # tests have small ones of their own


def test_storage_in_the_jobs_folder_is_refused(cluster, laptop, root):
    """It would vanish with the job: one line, before anything runs."""
    process = submit(cluster, laptop, "python", "sweeps/table4.py", "--data", root, "--storage", "runs", *TINY)
    assert process.returncode != 0
    (line,) = {line for line in process.stdout.splitlines() if line.startswith("error:")}  # Ray shows a job's end again
    assert "--storage runs is in the job's folder" in line
    assert "TCLAP_STORAGE" in line


@pytest.mark.parametrize("token", [None, "x" * 32])
def test_request_without_the_token_is_refused(cluster, token):
    """Neither the list of jobs nor a new one; the token itself is accepted."""
    jobs = f"{cluster.dashboard}/api/jobs/"
    new = json.dumps({"entrypoint": "true"}).encode()
    assert status(jobs, cluster.token) == 200
    assert status(jobs, token) in (401, 403)
    assert status(jobs, token, new) in (401, 403)


@pytest.mark.slow
def test_a_stopped_job_is_checkpointed_and_its_log_ends_with_the_command_that_goes_on(cluster, laptop, root):
    """Where Ray started with RAY_JOB_STOP_WAIT_TIME_S; by itself it grants 3 s."""
    small = [flag for flag in TINY if not flag.startswith("--steps-b")]
    command = ("python", "sweeps/table4.py", "--data", root, "--name", "stopped", *small, "--steps-b=3000")
    job = submit(cluster, laptop, *command, flags=("--no-wait", "--submission-id", "to-be-stopped"))
    assert job.returncode == 0, job.stdout + job.stderr
    deadline = time.monotonic() + 240
    while not list(cluster.storage.glob("stopped/trials/*/seed-0/state.pt")):
        assert time.monotonic() < deadline, ray_job(cluster, laptop, "logs", "to-be-stopped").stdout
        time.sleep(0.5)
    stopped = ray_job(cluster, laptop, "stop", "to-be-stopped")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    lines = ray_job(cluster, laptop, "logs", "to-be-stopped").stdout.splitlines()
    (last,) = (line for line in lines if line.startswith("python sweeps/table4.py"))
    assert "--name stopped" in last
    assert lines[lines.index(last) - 1] == "stopped; the same command goes on from here:"
    client = MlflowClient(cluster.tracking)
    experiment = client.get_experiment_by_name("tclap")
    runs = client.search_runs([experiment.experiment_id], "tags.sweep = 'stopped'")
    assert {run.info.status for run in runs if run.data.tags["kind"] != "stage_a"} == {"KILLED"}
