"""The Ray that a sweep uses: connected to or started, and how many lanes it has room for."""

from __future__ import annotations

import math
import os

import ray

from tclap import plugins
from tclap.lanes.leftovers import free_before_start
from tclap.lanes.preflight import connect_ray
from tclap.sweep.sweep import Sweep

# Train starts a process for each group that waits for notices of preempted nodes; a job that loses one goes on from its
# last state with or without a notice. It looks after its workers every 2 s by default.
SETTINGS = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1.0"}
TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # files for each trial that nobody reads: MLflow has it all
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's own boxes, which its verbose=0 does not silence
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would kill the trials; ours lets them keep their state
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports its outcome, and no metric
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # nobody reads Tune's own snapshots
}


def open_cluster() -> None:
    """Connect to the cluster of RAY_ADDRESS, or start one on this machine. Raises InputError if that fails."""
    os.environ.update(TUNE_SETTINGS)
    plugins.hand_on_current_folder()  # a user's own model is found by the workers, too
    connect_ray({"env_vars": SETTINGS})
    free_before_start()


def room_for_lanes(sweep: Sweep) -> int:
    """How many lanes the cluster has room for; `preflight.check_room` has made sure of one."""
    there = ray.cluster_resources()
    places = there.get("CPU", 0)
    if sweep.gpus_per_worker:
        on_each = math.floor(1 / sweep.gpus_per_worker + 1e-9)  # what is left of two GPUs is no place
        places = min(places, there.get("GPU", 0) * on_each)
    return max(1, math.floor(places / sweep.workers))
