"""The test folds: scored once, for a sweep's winner and its untrained base, and read back from MLflow ever after."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mlflow import MlflowClient
from mlflow.entities import Metric

from tclap.data.esc50 import check_folds
from tclap.errors import InputError
from tclap.orchestrate.champion import checkpoint_of
from tclap.orchestrate.records import SweepRecord, Trial
from tclap.orchestrate.tracking import score_metrics
from tclap.training import checkpoint
from tclap.training.run import Workspace, base_of, evaluate, open_workspace

TRAINED, BASE = "zste_test", "zste_test_base"


def test_fold_scores(
    client: MlflowClient, uri: str, sweep: SweepRecord, winners: Sequence[Trial], data: Path | None, cache: Path
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Scores in percent by ZSTE column, "mean" and "temporal": one dict for each of `winners`, and the base's.

    winners: one configuration's seeds. Whatever is not logged yet is computed and logged, as zste_test/... on each
    winner's run and zste_test_base/... on the sweep's. data: the dataset's folder where it has moved. Raises
    InputError where the folder is missing or holds another dataset, and where the sweep kept no test folds.
    """
    todo = [trial for trial in winners if f"{TRAINED}/temporal" not in trial.metrics]
    base_todo = f"{BASE}/temporal" not in sweep.metrics
    if todo or base_todo:
        configuration = winners[0].configuration
        folds = configuration.data.test_folds
        if not folds:
            raise InputError(f"sweep {sweep.name!r} kept no test folds (--test-folds), so its winner has no test score")
        workspace = _workspace(sweep, data, cache)
        check_folds(workspace.dataset, {"test_folds": folds})
        if base_todo:
            _score(client, sweep.run_id, BASE, base_of(workspace, configuration), workspace, configuration.data, folds)
        for trial in todo:
            with tempfile.TemporaryDirectory() as scratch:
                place = checkpoint_of(uri, trial, Path(scratch))
                _score(client, trial.run_id, TRAINED, place, workspace, configuration.data, folds)
    own = [_logged(client, trial.run_id, TRAINED) for trial in winners]
    return own, _logged(client, sweep.run_id, BASE)
