"""Real Ray and MLflow in real processes; each sweep is tiny, and most of its time is processes starting."""

import contextlib
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
import ray
from mlflow import MlflowClient
from xdist.scheduler import LoadScopeScheduling

from tests.integration.services import BIN, mlflow_server, ray_cluster

REPO = Path(__file__).parents[2]
# 8 takes make more than one chunk of features, and so more than one process that extracts them.
TINY = "--batch-sizes=6 --takes=8 --eval-takes=1 --steps-a=4 --steps-b=4 --base-steps=10".split()  # noqa: SIM905
# `make test` runs two groups side by side: what looks at the sweep `finished`, and these, which take as long.
NOT_OF_FINISHED = ("test_faults", "test_extension", "test_leftovers")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    class TwoGroups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "other" if Path(nodeid.partition("::")[0]).stem in NOT_OF_FINISHED else "finished"

    return TwoGroups(config, log)


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.integration)


def run(*command, timeout_s=600, env=None):
    """Run a python command line from the repository; returns the finished process.

    In a Ray of its own, unless `env` says otherwise.
    """
    settings = {**os.environ, "RAY_ADDRESS": "local"}
    for name in ("MLFLOW_TRACKING_URI", "PYTHONPATH"):  # a script must find what it imports without
        settings.pop(name, None)
    settings.update(env or {})
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=REPO, env=settings, capture_output=True, text=True, timeout=timeout_s
    )


def run_here(program, *flags, env=None):
    """`run` in this process, for what ends before Ray starts: the seconds that a process takes to import are saved.

    program: a script below the repository, or the text of one.
    """
    settings = {**os.environ, "RAY_ADDRESS": "local", **(env or {})}
    if not env or "MLFLOW_TRACKING_URI" not in env:
        settings.pop("MLFLOW_TRACKING_URI", None)
    arguments = [program, *map(str, flags)]
    is_script = program.endswith(".py")
    text = (REPO / program).read_text(encoding="utf-8") if is_script else program
    beside = [str((REPO / program).parent)] if is_script else []
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, settings, clear=True),
        mock.patch.object(sys, "argv", arguments),
        mock.patch.object(sys, "path", [*beside, *sys.path]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        exec(compile(text, "<program>", "exec"), {"__name__": "__main__"})
    assert not ray.is_initialized()
    return subprocess.CompletedProcess(arguments, ended.value.code, out.getvalue(), err.getvalue())


def rows_program(rows):
    """A sweep script for only some rows: [(stages, LossCoefficients arguments)]."""
    return (
        "import sys; from pydantic_settings import CliApp; from tclap.console import run_or_exit;"
        "from tclap.config import LossCoefficients; from tclap.lanes.driver import run_sweep;"
        "from tclap.flags import SweepSettings; s = CliApp.run(SweepSettings);"
        f"rows = [s.configuration(stages, LossCoefficients(**c), s.batch_sizes[0]) for stages, c in {rows!r}];"
        "run_or_exit(lambda: run_sweep(s, rows, 'table4'))"
    )


def run_rows(rows, *flags, timeout_s=600, env=None):
    """Run such a script under the flags of a sweep; returns the finished process."""
    return run("-c", rows_program(rows), *flags, timeout_s=timeout_s, env=env)


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster with two CPUs and an MLflow server, which many tests share."""

    dashboard: str
    ray_folder: Path  # where Ray unpacks what is shipped
    storage: Path  # where its environment says that sweeps store
    tracking: str  # MLflow's address
    token: str
    env: dict[str, str]  # with it, a process of this machine uses them


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    token = secrets.token_hex(16)
    with mlflow_server(folder) as tracking:
        known = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "MLFLOW_TRACKING_URI": tracking}
        storage = folder / "shared"
        own = {"TCLAP_STORAGE": str(storage), "RAY_JOB_STOP_WAIT_TIME_S": "120"}
        with ray_cluster(folder, 2, {**known, **own}) as (dashboard, gcs, ray_folder):
            yield Cluster(dashboard, ray_folder, storage, tracking, token, {**known, "RAY_ADDRESS": gcs})


# 50 MB that must not be shipped.
NOT_SHIPPED = (".git/objects/pack", "runs/cache", "data/esc50/audio", ".venv/lib", "mlruns/0")
OF_TABLE4 = "tags.sweep = 'table4'"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="session")
def laptop(tmp_path_factory):
    """A copy of the tree, with what gathers in one."""
    here = tmp_path_factory.mktemp("laptop") / "tclap"
    left_out = shutil.ignore_patterns(".git", ".venv", "runs", "build", "__pycache__", ".*_cache", "*.egg-info")
    shutil.copytree(REPO, here, ignore=left_out)
    for name in NOT_SHIPPED:
        (here / name).mkdir(parents=True)
        (here / name / "large.bin").write_bytes(bytes(10_000_000))
    return here


def submit(cluster, folder, *command, flags=()):
    """`ray job submit --working-dir .` from `folder`, by somebody whose environment knows only the token."""
    environment = json.dumps({"env_vars": {"TCLAP_GIT_COMMIT": COMMIT}})
    shipped = ("--working-dir", ".", "--runtime-env-json", environment, *flags, "--", *command)
    return ray_job(cluster, folder, "submit", *shipped)


def ray_job(cluster, folder, verb, *arguments):
    known = {key: os.environ[key] for key in ("HOME", "PATH", "LANG") if key in os.environ}
    return subprocess.run(
        [str(BIN / "ray"), "job", verb, "--address", cluster.dashboard, *map(str, arguments)],
        cwd=folder,
        env={**known, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": cluster.token},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="session")
def finished(cluster, laptop, root):
    """Table IV at toy size, run once, as a job: (storage folder, finished process of the submitter)."""
    process = submit(cluster, laptop, "python", "sweeps/table4.py", "--data", root, "--seeds", "0,1", *TINY)
    assert process.returncode == 0, process.stdout + process.stderr
    return cluster.storage, process


@pytest.fixture(scope="session")
def runs(finished, cluster):
    """A client, and every MLflow run of the finished sweep."""
    client = MlflowClient(cluster.tracking)
    experiment = client.get_experiment_by_name("tclap")
    return client, client.search_runs([experiment.experiment_id], OF_TABLE4, max_results=1000)
