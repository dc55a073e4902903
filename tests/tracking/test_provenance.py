"""Dataset, source and user on a run, on real SQLite stores."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from tclap.tracking import runs as tracking
from tclap.tracking.provenance import copy_origin, log_origin

DIGEST = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> tuple[MlflowClient, str]:
    """A client and an experiment."""
    return tracking.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)


def origin(client: MlflowClient, run_id: str) -> tuple[list[tuple[str, str, str, dict[str, str]]], dict[str, str]]:
    """What a run says, without the columns that MLflow adds."""
    run = client.get_run(run_id)
    datasets = [
        (d.dataset.name, d.dataset.digest, d.dataset.source, {tag.key: tag.value for tag in d.tags})
        for d in run.inputs.dataset_inputs
    ]
    return datasets, {key: run.data.tags[key] for key in ("mlflow.source.name", "mlflow.source.type", "mlflow.user")}


def test_a_run_says_which_data_who_and_from_where(store, monkeypatch) -> None:
    client, experiment = store
    monkeypatch.setenv("LOGNAME", "ada")
    run_id = client.create_run(experiment).info.run_id
    for _ in range(2):
        log_origin(client, run_id, "/data/esc50", DIGEST, "sweeps/table4.py")
    assert origin(client, run_id) == (
        [("esc50", DIGEST[:36], "/data/esc50", {"mlflow.data.context": "training and evaluation"})],
        {"mlflow.source.name": "sweeps/table4.py", "mlflow.source.type": "LOCAL", "mlflow.user": "ada"},
    )


def test_another_run_says_the_same_whoever_runs_it(store, monkeypatch) -> None:
    client, experiment = store
    parent, child = (client.create_run(experiment).info.run_id for _ in range(2))
    monkeypatch.setenv("LOGNAME", "ada")
    log_origin(client, parent, "/data/esc50", DIGEST, "sweeps/table4.py")
    monkeypatch.setenv("LOGNAME", "ray")
    for _ in range(2):
        copy_origin(client, child, parent)
    assert origin(client, child) == origin(client, parent)
    assert origin(client, child)[1]["mlflow.user"] == "ada"


def test_where_a_run_says_nothing_another_one_says_nothing(store) -> None:
    client, experiment = store
    parent, child = (client.create_run(experiment).info.run_id for _ in range(2))
    copy_origin(client, child, parent)
    run = client.get_run(child)
    assert run.inputs.dataset_inputs == []
    assert "mlflow.source.name" not in run.data.tags
