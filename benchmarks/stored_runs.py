"""Thousands of finished runs in an MLflow store within seconds: one is logged, the others are its rows again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy
from mlflow.store.tracking.dbmodels import models

from tclap.config import Configuration, config_hash
from tclap.evaluation.statistics import Score
from tclap.experiment import open_workspace
from tclap.flags import SweepSettings
from tclap.tracking import runs as tracking

COPIED = (models.SqlMetric, models.SqlLatestMetric, models.SqlParam, models.SqlTag)


def log_finished(
    settings: SweepSettings, configurations: Sequence[Configuration], scores: dict[str, Score]
) -> list[str]:
    """A FINISHED run of the sweep for each configuration (seed 0) in its own store; returns their run ids.

    All have the first one's parameters and scores: what MLflow has to read is as much, and nobody looks at it here.
    """
    storage, sweep, data = Path(str(settings.storage)), settings.name, settings.data
    assert data is not None
    uri = tracking.tracking_uri(storage)
    client, experiment_id = tracking.connect(uri, storage)
    parent = tracking.sweep_run(
        client, experiment_id, sweep, settings.identity(), data, open_workspace(data, storage).dataset_digest
    )
    saved = storage / "checkpoint"
    saved.mkdir(exist_ok=True)
    (saved / "config.json").write_text("{}")
    first = tracking.child_run(client, experiment_id, sweep, parent, configurations[0], 0, None)
    tracking.finish(client, first, scores, saved, {"train_s": 1.0}, configurations[0].optimiser.steps)
    names = [config_hash(configuration) for configuration in configurations]
    ids = [first, *(uuid.uuid4().hex for _ in names[1:])]
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as connection:
        for model in (models.SqlRun, *COPIED):
            table = model.__table__
            rows = connection.execute(sqlalchemy.select(table).where(table.c.run_uuid == first)).mappings().all()
            for run_id, name in zip(ids[1:], names[1:], strict=True):
                copies = [{**row, "run_uuid": run_id} for row in rows]
                for copy in copies:
                    if model is models.SqlTag and copy["key"] == "config_hash":
                        copy["value"] = name
                connection.execute(sqlalchemy.insert(table), copies)
    return ids
