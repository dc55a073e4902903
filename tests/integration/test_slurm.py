"""`cluster/slurm.sh` for real, over two "nodes" of this machine: only `srun` and `scontrol` are stand-ins."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.integration.conftest import REPO, TINY

SCONTROL = """#!/usr/bin/env bash
[[ "$*" == "show hostnames two-nodes" ]] || { echo "scontrol: unexpected $*" >&2; exit 1; }
printf '%s\\n' node1 node2
"""
# Runs the command once for each node that --nodelist or --exclude leaves, and passes a TERM on, as srun does.
SRUN = """#!/usr/bin/env bash
nodes="node1 node2"
while [[ $1 == --* ]]; do
  case $1 in
    --nodelist=*) nodes=${1#*=} ;;
    --exclude=*) nodes=${nodes/${1#*=}/} ;;
    --overlap | --nodes=1 | --ntasks=1 | --ntasks-per-node=1) ;;
    *) echo "srun: unexpected $1" >&2; exit 1 ;;
  esac
  shift
done
trap 'kill $(jobs -p) 2>/dev/null; wait; exit 143' TERM
for node in $nodes; do
  echo "$node: $1 $2" >>"$SRUN_LOG"
  SLURMD_NODENAME=$node "$@" &
done
wait
"""
# One row, whose trial takes two workers and so both nodes: each has one CPU.
SWEEP = """
import ray
from pydantic_settings import CliApp
from tclap.console import run_or_exit
from tclap.config import LossCoefficients
from tclap.lanes.driver import run_sweep
from tclap.flags import SweepSettings

settings = CliApp.run(SweepSettings)
row = settings.configuration("B", LossCoefficients(), settings.batch_sizes[0])

def main():
    code = run_sweep(settings, [row], "table")
    print("CPUs of the nodes:", sorted(node["Resources"]["CPU"] for node in ray.nodes() if node["Alive"]))
    return code

run_or_exit(main)
"""


@pytest.fixture
def slurm(tmp_path):
    """The environment of a job on two nodes with one CPU each."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_", "TCLAP_"))}
    return settings | {
        "PATH": os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), settings["PATH"]]),
        "PYTHONPATH": str(REPO),
        "SRUN_LOG": str(tmp_path / "srun.log"),
        "SLURM_JOB_ID": str(random.SystemRandom().randrange(10_000)),
        "SLURM_JOB_NODELIST": "two-nodes",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
    }


@pytest.mark.slow
def test_sweep_runs_over_both_nodes_and_leaves_no_process(root, tmp_path, slurm):
    (tmp_path / "sweep.py").write_text(SWEEP)
    flags = ["--data", root, "--storage", tmp_path / "runs", "--workers", "2", *TINY]
    done = subprocess.run(
        [REPO / "cluster" / "slurm.sh", tmp_path / "sweep.py", *map(str, flags)],
        **{"env": slurm, "cwd": REPO, "capture_output": True, "text": True, "timeout": 300},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CPUs of the nodes: [1.0, 1.0]" in done.stdout
    assert len(pd.read_csv(tmp_path / "runs" / "table4" / "table.csv")) == 1
    steps = (tmp_path / "srun.log").read_text().splitlines()
    assert steps == ["node1: hostname --ip-address", "node1: ray start", "node2: ray start"]
    left = subprocess.run(["pgrep", "-f", f"/tmp/ray-{slurm['SLURM_JOB_ID']}/"], capture_output=True, text=True)
    assert left.stdout == ""


def test_without_a_sweep_it_says_so(slurm):
    done = subprocess.run([REPO / "cluster" / "slurm.sh"], env=slurm, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: which sweep? sbatch cluster/slurm.sh sweeps/table4.py [FLAGS]\n"
