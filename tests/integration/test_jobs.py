"""`ray job submit` from a clean folder, to a cluster with token authentication; test_sweep.py looks at the results."""

import json
import re

import pytest

from tests.integration.conftest import COMMIT, TINY, submit
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
    assert [path for path in cluster.ray_folder.rglob("*") if path.name in results] == []


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
