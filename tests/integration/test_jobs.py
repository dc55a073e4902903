"""`ray job submit` of Table IV from a clean folder, to a cluster with token authentication."""

import json
import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.integration.conftest import REPO, TINY
from tests.integration.services import BIN, mlflow_server, ray_cluster, status

TOKEN = secrets.token_hex(16)
NOT_SHIPPED = (".git/objects/pack", "runs/cache", "data/esc50/audio", ".venv/lib", "mlruns/0")


@dataclass(frozen=True)
class Cluster:
    address: str  # of Ray's dashboard
    tracking: str  # MLflow's
    shared: Path  # TCLAP_STORAGE
    ray_folder: Path  # where Ray unpacks what is shipped


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Ray with two CPUs and MLflow's server; Ray's environment says where files and runs go."""
    folder = tmp_path_factory.mktemp("cluster")
    with mlflow_server(folder) as tracking:
        settings = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "MLFLOW_TRACKING_URI": tracking,
            "TCLAP_STORAGE": str(folder / "shared"),
        }
        with ray_cluster(folder, 2, settings) as (address, ray_folder):
            yield Cluster(address, tracking, folder / "shared", ray_folder)


def submit(cluster, folder, *command, token=TOKEN):
    """`ray job submit --working-dir .` from `folder`, by somebody whose environment knows only the token."""
    known = {key: os.environ[key] for key in ("HOME", "PATH", "LANG") if key in os.environ}
    job = (BIN / "ray", "job", "submit", "--address", cluster.address, "--working-dir", ".", "--", *command)
    return subprocess.run(
        [*map(str, job)],
        cwd=folder,
        env={**known, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def laptop(tmp_path_factory):
    """A copy of the tree that also holds what must not be shipped: 50 MB."""
    here = tmp_path_factory.mktemp("laptop") / "tclap"
    left_out = shutil.ignore_patterns(".git", ".venv", "/runs", "__pycache__", ".*_cache", "*.egg-info")
    shutil.copytree(REPO, here, ignore=left_out)
    for name in NOT_SHIPPED:
        (here / name).mkdir(parents=True)
        (here / name / "large.bin").write_bytes(bytes(10_000_000))
    return here


@pytest.fixture(scope="module")
def submitted(cluster, laptop, root):
    """Table IV at toy size as a job."""
    process = submit(cluster, laptop, "python", "sweeps/table4.py", "--data", root, *TINY)
    assert process.returncode == 0, process.stdout + process.stderr
    return process


def test_job_succeeds_and_its_runs_are_in_the_clusters_mlflow(submitted, cluster):
    assert re.search(r"Job '\w+' succeeded", submitted.stdout)
    client = MlflowClient(cluster.tracking)
    experiment = client.get_experiment_by_name("tclap")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert sorted(run.data.tags["kind"] for run in runs) == ["stage_a", "sweep", *["trial"] * 8]
    assert all(run.info.status == "FINISHED" for run in runs)
    (parent,) = (run for run in runs if run.data.tags["kind"] == "sweep")
    names = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert names == {"table4.csv", "table4.md", "table4.html", "table4.png"}


def test_what_is_shipped_is_the_code_only(submitted, cluster):
    (shipped,) = cluster.ray_folder.glob("session_2*/runtime_resources/working_dir_files/_ray_pkg_*/")
    files = [path.relative_to(shipped) for path in shipped.rglob("*") if path.is_file()]
    assert {"table4.py", "sweep.py", "published.csv"} <= {path.name for path in files}
    assert "large.bin" not in {path.name for path in files}
    assert sum((shipped / path).stat().st_size for path in files) < 3_000_000


def test_files_lie_in_shared_storage_and_not_in_the_jobs_folder(submitted, cluster):
    sweep = cluster.shared / "table4"
    assert (sweep / "table4.csv").read_text().count("\n") == 1 + 8
    assert len(list(sweep.glob("trials/*/seed-0/checkpoint/model.safetensors"))) == 9
    written = {path.name for path in cluster.ray_folder.rglob("*") if path.is_file()}
    assert written.isdisjoint({"table4.csv", "model.safetensors", "mlflow.db", "result.json"})


def test_storage_in_the_jobs_folder_is_refused(cluster, laptop, root):
    """It would vanish with the job: one line, before anything runs."""
    process = submit(cluster, laptop, "python", "sweeps/table4.py", "--data", root, "--storage", "runs", *TINY)
    assert process.returncode != 0
    (line,) = (line for line in process.stdout.splitlines() if line.startswith("error:"))
    assert "--storage runs is in the job's folder" in line
    assert "TCLAP_STORAGE" in line


@pytest.mark.parametrize("token", [None, "x" * 32])
def test_request_without_the_token_is_refused(cluster, token):
    """Neither the list of jobs nor a new one; the token itself is accepted."""
    jobs = f"{cluster.address}/api/jobs/"
    new = json.dumps({"entrypoint": "true"}).encode()
    assert status(jobs, TOKEN) == 200
    assert status(jobs, token) in (401, 403)
    assert status(jobs, token, new) in (401, 403)
