"""`sweeps/table5.py` through Ray to MLflow: a built-in model, a checkpoint, a user's own, and random weights."""

import os
import shutil
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from tclap.training import checkpoint
from tests.integration.conftest import REPO


@pytest.mark.slow
def test_a_list_of_models_from_anywhere(root, mini, tmp_path):
    checkpoint.save(tmp_path / "trained", mini, {})
    shutil.copy(REPO / "examples" / "my_model.py", tmp_path)
    models = f"mini,{tmp_path / 'trained'},my_model:build,msclap-2022=random"
    flags = ["--data", root, "--folds", "4", "--eval-takes", "1", "--base-steps", "5", "--storage", tmp_path / "runs"]
    done = subprocess.run(
        [sys.executable, REPO / "sweeps" / "table5.py", "--models", models, *map(str, flags)],
        cwd=tmp_path,
        env={**os.environ, "RAY_ADDRESS": "local"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("tclap").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 5
    assert "random weights: means nothing" in (tmp_path / "runs" / "table5" / "table5.md").read_text()
