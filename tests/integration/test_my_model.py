"""A user's model of 25 lines in a folder of its own: checked, scored, swept by two workers, and scored again."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from mlflow import MlflowClient

from tests.integration.conftest import REPO, TINY

SWEEP = """
from tclap.axes import expand, parse_vary
from tclap.config import LossCoefficients
from tclap.console import parse, run_or_exit
from tclap.flags import SweepSettings
from tclap.lanes.driver import run_sweep

settings = parse(SweepSettings)
start = settings.configuration("B", LossCoefficients(), settings.batch_sizes[0])
run_or_exit(lambda: run_sweep(settings, expand([start], [parse_vary("alpha_st=0,1")]), table="mine"))
"""


@pytest.mark.slow  # eight processes that import torch, one after another
def test_a_model_of_mine_from_check_to_the_score_of_what_a_sweep_left(root, tmp_path):
    shutil.copy(REPO / "examples" / "my_model.py", tmp_path)
    (tmp_path / "my_sweep.py").write_text(SWEEP)

    def python(*command):
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path,
            env={**os.environ, "RAY_ADDRESS": "local", "MLFLOW_TRACKING_URI": ""},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    model, data = ("--model", "my_model:build"), ("--data", root)
    assert "all 11 checks passed" in python("-m", "tclap", "check-model", "my_model:build")
    python("-m", "tclap", "zste", *model, *data, "--folds", "4", "--eval-takes", "1", "--json", "before.json")
    python("my_sweep.py", *model, *data, "--workers", "2", "--name", "mine", *TINY)

    table = pd.read_csv(tmp_path / "runs" / "mine" / "mine.csv")
    assert table["alpha_st"].tolist() == [0, 1]
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("tclap").experiment_id], "tags.kind = 'trial'")
    assert {run.data.params["model.name"] for run in runs} == {"my_model:build"}
    # The identity names the code and the weights, so that an edit of the module is another configuration.
    assert {run.data.params["model.identity"].split(" ")[0] for run in runs} == {"my_model:build"}

    checkpoints = sorted((tmp_path / "runs" / "mine" / "trials").glob("*/seed-0/checkpoint"))
    assert len(checkpoints) == 2
    sound = next((root / "audio").iterdir())
    shown = [python("-m", "tclap", "score", place, sound, "a hum before ticks") for place in checkpoints]
    untrained = python("-m", "tclap", "score", "my_model:build", sound, "a hum before ticks")
    assert len({*shown, untrained}) == 3
    again = ("--folds", "4", "--eval-takes", "1", "--json", "0.json")
    python("-m", "tclap", "zste", "--model", checkpoints[0], *data, *again)
    scored = json.loads((tmp_path / "0.json").read_text())
    hashed = checkpoints[0].parents[1].name
    swept = next(run for run in runs if run.data.tags["config_hash"] == hashed)
    assert scored["3A"]["value"] == swept.data.metrics["zste/3A"]
