"""What cannot lie at an s3:// URL is asked for in one line, before Ray starts."""

import pytest

from tclap.config import LossCoefficients
from tclap.errors import InputError
from tclap.orchestrate import tracking
from tclap.orchestrate.search import run_search
from tclap.orchestrate.sweep import run_sweep
from tclap.search_settings import SearchSettings
from tclap.storage import at
from tclap.sweep_settings import SweepSettings


def test_mlflow_needs_a_server(bucket, root, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    flags = ["--storage", f"{bucket}/x", "--cache", str(tmp_path), "--data", str(root), "--batch-sizes", "6"]
    settings = SweepSettings(_cli_parse_args=flags)
    rows = [settings.configuration("B", LossCoefficients(), 6)]
    with pytest.raises(InputError, match="cannot hold MLflow's database: set MLFLOW_TRACKING_URI"):
        run_sweep(settings, rows, "table4")
    assert tracking.tracking_uri(at(str(tmp_path))) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking.tracking_uri(at(f"{bucket}/x")) == "http://mlflow:5000"


def test_a_study_needs_a_database(bucket, root, tmp_path):
    flags = ["--storage", f"{bucket}/x", "--cache", str(tmp_path), "--data", str(root), "--batch-sizes", "6"]
    with pytest.raises(InputError, match="cannot hold a journal file: give --study"):
        run_search(SearchSettings(_cli_parse_args=flags))
