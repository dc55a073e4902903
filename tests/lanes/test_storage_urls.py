"""What cannot lie at an s3:// URL is asked for in one line, before Ray starts."""

import pytest

from tclap.cache import node_cache, publish, published_dataset
from tclap.config import LossCoefficients
from tclap.data.dataset import digest
from tclap.errors import InputError
from tclap.flags import SweepSettings
from tclap.lanes.driver import run_sweep
from tclap.lanes.search import run_search
from tclap.lanes.worker import workspace_of
from tclap.places import at
from tclap.search_flags import SearchSettings
from tclap.sweep.sweep import Sweep
from tclap.tracking import runs as tracking


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


def test_a_worker_finds_the_synthetic_dataset_that_the_driver_published(bucket, root, dataset_digest, tmp_path):
    origin = at(f"{bucket}/published")
    publish(published_dataset(node_cache(tmp_path / "driver", origin), dataset_digest), source=root)
    sweep = Sweep(
        name="n",
        folder=str(origin / "n"),
        data=None,
        dataset_digest=dataset_digest,
        cache=str(tmp_path / "worker"),
        origin=str(origin),
        workers=1,
        gpus_per_worker=0,
        chunk=None,
        retrieval={},
        allow_missing=False,
        tracking_uri="http://mlflow:5000",
        experiment_id="1",
        parent_run_id="r",
    )
    workspace = workspace_of(sweep, print)
    assert workspace.cache == node_cache(tmp_path / "worker", origin)
    assert workspace.dataset.root.is_relative_to(workspace.cache)
    assert digest(workspace.dataset) == dataset_digest
