"""A whole sweep of msclap-2022 at its full size, with random weights and real sound (`make test-slow`)."""

from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from tests.integration.conftest import run_rows

ESC50 = Path(__file__).parents[3] / "shared" / "data" / "esc50"


@pytest.fixture
def six_classes(tmp_path):
    """Six classes of real ESC-50, by links."""
    if not ESC50.is_dir():
        pytest.skip(f"real ESC-50 is not at {ESC50}")
    table = pd.read_csv(ESC50 / "meta" / "esc50.csv")
    table = table[table["target"] < 6]
    (tmp_path / "six" / "meta").mkdir(parents=True)
    (tmp_path / "six" / "audio").symlink_to(ESC50 / "audio")
    table.to_csv(tmp_path / "six" / "meta" / "esc50.csv", index=False)
    return tmp_path / "six"


@pytest.mark.slow
def test_msclap_2022_at_full_size_through_ray_to_a_table_in_mlflow(six_classes, tmp_path):
    storage = tmp_path / "runs"
    process = run_rows(
        [("B", {}), ("AB", {})],
        *("--data", six_classes, "--storage", storage, "--model", "msclap-2022", "--weights", "random"),
        *("--workers", "2", "--batch-sizes", "6", "--takes", "1", "--eval-takes", "1", "--steps-a", "2"),
        *("--steps-b", "2", "--train-folds", "1,2", "--eval-folds", "3", "--test-folds", "4", "--lr", "1e-4"),
        timeout_s=3600,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tclap")
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    assert sorted(r.data.params["stages"] for r in runs) == ["AB", "B"]
    assert all(r.info.status == "FINISHED" and "zste/3A" in r.data.metrics for r in runs)
    shown = (storage / "table4" / "table4.md").read_text()
    assert "The base is untrained" in shown
    sizes = [path.stat().st_size for path in storage.glob("table4/trials/*/seed-0/checkpoint/model.safetensors")]
    assert len(sizes) == 3
    assert all(70e6 < size < 74e6 for size in sizes)
