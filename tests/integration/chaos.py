"""A sweep over a two-node Ray cluster and an MLflow server of its own, and the means to kill any part of it."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
import torch
from mlflow import MlflowClient
from mlflow.entities import ViewType
from ray.cluster_utils import Cluster

from tclap.config import LossCoefficients, config_hash
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS
from tclap.flags import SweepSettings
from tclap.sweep.live import read_live
from tests.integration import services
from tests.integration.checker import problems_of_runs
from tests.integration.conftest import REPO, rows_program

ROWS = [("AB", {})]  # a stage-A run and an AB run, one after the other: what is killed is never in doubt
# Checkpoints come after steps 50, 100, ... and the last. Stage B lasts long enough to be stopped in the middle.
STEPS = {"A": 120, "B": 400}
SMALL = f"--batch-sizes=6 --takes=8 --eval-takes=4 --steps-a={STEPS['A']} --steps-b={STEPS['B']} --base-steps=10"
SMALL += " --workers=2"
MLFLOW_DOWN_S = 20
# How Ray names its processes: by the class, and while it is in a call by the class that Tune makes of it.
TITLES = {
    "worker": ("ray::RayTrainWorker",),
    "lane": ("ray::Lane", "ray::ResourceTrainable"),
    "mailbox": ("ray::Mailbox",),
}


@dataclass
class Place:
    """Where the sweeps of a test run: dataset, storage, the cluster's two nodes, the MLflow server."""

    data: Path
    storage: Path
    cluster: Cluster
    mlflow: services.Restartable
    settings: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def a_place(root, folder):
    """Two Ray nodes with a CPU each, which every trial's two workers need, and an MLflow server."""
    # Ray's workers are nice by default, and would wait for whatever else the machine does.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    (dashboard,) = services.free_ports(1)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": True, "dashboard_port": dashboard},
    )
    try:
        cluster.add_node(num_cpus=1)
        with services.restartable_mlflow(folder) as mlflow:
            settings = {
                **os.environ,
                "RAY_ADDRESS": cluster.address,
                "MLFLOW_TRACKING_URI": mlflow.uri,
                "PYTHONPATH": str(REPO),
            }
            yield Place(root, folder / "storage", cluster, mlflow, settings)
    finally:
        cluster.shutdown()


@dataclass
class Running:
    """A sweep's script, and the log of its output."""

    place: Place
    name: str
    process: subprocess.Popen
    log: Path
    rows: list
    flags: str

    @property
    def folder(self):
        return self.place.storage / self.name

    def finish(self, timeout_s=400):
        code = self.process.wait(timeout_s)
        assert code == 0, self.log.read_text()[-6000:]


def launch(place, name, rows=ROWS, flags=SMALL):
    """Start the sweep's script; the same call again is the same command again."""
    log = place.storage.parent / f"{name}.log"
    command = [sys.executable, "-c", rows_program(rows), "--data", place.data, "--storage", place.storage]
    with log.open("a") as out:
        process = subprocess.Popen(
            [*map(str, command), "--name", name, *flags.split()],
            cwd=REPO, env=place.settings, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    return Running(place, name, process, log, rows, flags)


def hashes(flags=SMALL):
    """config_hash of the stage-A run, of the AB run, and of the same without stage A."""
    settings = SweepSettings(_cli_parse_args=flags.split())
    both = settings.configuration("AB", LossCoefficients(), settings.batch_sizes[0])
    alone = settings.configuration("B", LossCoefficients(), settings.batch_sizes[0])
    return {"A": config_hash(both.parent), "B": config_hash(both), "B alone": config_hash(alone)}


def wait_until_in(running, stage, step, timeout_s=240, seed=0):
    """Wait until stage "A" or "B" has a checkpoint at `step` or later and is not done."""
    folder = running.folder / "trials" / hashes()[stage] / f"seed-{seed}"

    def is_there():
        at = step_in(folder / "state.pt")
        assert not (folder / "result.json").exists(), f"stage {stage} was done before it could be disturbed"
        return at >= step

    wait_until(running, is_there, timeout_s)


def wait_until(running, holds, timeout_s=240):
    """Wait until `holds()`, while the sweep goes on."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert running.process.poll() is None, running.log.read_text()[-6000:]
        assert time.monotonic() < deadline, running.log.read_text()[-6000:]
        time.sleep(0.02)


def state_of(running, name):
    """What the driver says of a job; None before it says anything."""
    snapshot = read_live(running.folder)
    return next((job.state for job in snapshot.jobs if job.hash == name), None) if snapshot else None


def wait_until_extracting(running, chunks, timeout_s=120):
    """Wait until so many chunks of a feature set are done, and others are not."""
    features = running.place.storage / "cache" / "features"
    wait_until(running, lambda: len(list(features.glob("*.partial/chunk-*"))) >= chunks, timeout_s)


def step_in(state):
    """After which step the state in that file was kept; 0 if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return torch.load(state, weights_only=True)["step"]
    return 0


def disturb(running, target):
    """kill -9 of one part of the sweep, which is put back where nobody else would."""
    place = running.place
    if target in TITLES:
        _kill_ray_process(place, target)
    elif target == "script":
        running.process.kill()
        running.process.wait()
        return launch(place, running.name, running.rows, running.flags)
    elif target == "MLflow server":
        place.mlflow.kill()
        threading.Timer(MLFLOW_DOWN_S, place.mlflow.start).start()
    elif target == "node":
        (node,) = place.cluster.worker_nodes
        _kill_family(psutil.Process(node.all_processes["raylet"][0].process.pid))
        place.cluster.remove_node(node, allow_graceful=False)
        place.cluster.add_node(num_cpus=1)
    else:
        raise ValueError(target)
    return running


def can_disturb(running, target):
    """Whether `target` is there to be killed just now: a trial may be between two processes, the server be down."""
    if target == "MLflow server":
        return running.place.mlflow.is_up()
    return target not in TITLES or _ray_process(running.place, target) is not None


def _kill_ray_process(place, target):
    process = _ray_process(place, target)
    assert process is not None, f"no process of the {target} to kill"
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def _ray_process(place, target):
    """One of the cluster's processes whose title says that it is a `target`."""
    nodes = [place.cluster.head_node, *place.cluster.worker_nodes]
    raylets = [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in nodes]
    for process in [child for raylet in raylets for child in raylet.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith(TITLES[target]):
                return process
    return None


def _kill_family(process):
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


def table(running):
    return (running.folder / "table4.csv").read_text()


def children_of(running):
    """(sweep, config_hash, seed) of each child run there ever was: those too that reconciling deleted as doubles."""
    runs = [run for run in runs_of(running, ViewType.ALL) if run.data.tags["kind"] != "sweep"]
    return [(running.name, run.data.tags["config_hash"], run.data.tags["seed"]) for run in runs]


def runs_of(running, which=ViewType.ACTIVE_ONLY):
    """Every MLflow run of the sweep."""
    client = MlflowClient(running.place.mlflow.uri)
    experiment = client.get_experiment_by_name("tclap")
    return client.search_runs([experiment.experiment_id], f"tags.sweep = '{running.name}'", which, max_results=5000)


def trials_of(running):
    """The MLflow runs of the sweep's trials: the parent's and stage A's are none."""
    return [run for run in runs_of(running) if run.data.tags["kind"] == "trial"]


def scored(running, run):
    """After which steps a run has scores, as often as it has them."""
    history = MlflowClient(running.place.mlflow.uri).get_metric_history(run.info.run_id, "zste/1")
    return sorted(metric.step for metric in history)


def scored_models(running, run):
    """After which step each checkpoint of the run that MLflow lists as a model has scores; None if it has none."""
    client = MlflowClient(running.place.mlflow.uri)
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    scores = [[metric.step for metric in model.metrics or () if metric.key == "zste/1"] for model in models]
    return [steps[0] if steps else None for steps in scores]


def assert_nothing_lost_or_twice(running, steps_b=STEPS["B"]):
    """One MLflow run for each configuration and seed (and stage-A run), FINISHED, with metrics and checkpoint.

    steps_b: how many steps of stage B each trial has taken.
    """
    client = MlflowClient(running.place.mlflow.uri)
    steps = {"stage_a": STEPS["A"], "trial": steps_b}
    assert problems_of_runs(client, running.name, running.folder, steps) == []
    children = [run for run in runs_of(running) if run.data.tags["kind"] != "sweep"]
    wanted = {f"zste/{column}" for column in (*COLUMNS, *EXTRA_COLUMNS, "mean", "temporal")}
    assert all(wanted <= run.data.metrics.keys() for run in children)
    assert len(trials_of(running)) == len(pd.read_csv(running.folder / "table4.csv"))
