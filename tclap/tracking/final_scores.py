"""The test folds: scored once, for a sweep's winner and its untrained base, and read back from MLflow ever after."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from mlflow import MlflowClient
from mlflow.entities import Metric

from tclap.config import DataSettings
from tclap.data.dataset import check_folds
from tclap.errors import InputError
from tclap.experiment import Workspace, base_of, evaluate, open_workspace
from tclap.tracking.champion import checkpoint_of
from tclap.tracking.read import SweepRecord, Trial
from tclap.tracking.runs import score_metrics
from tclap.training import checkpoint

TRAINED, BASE = "zste_test", "zste_test_base"


def scores_on_test_folds(
    client: MlflowClient, sweep: SweepRecord, winners: Sequence[Trial], data: Path | None, cache: Path
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
            _score(client, sweep.run_id, BASE, base_of(workspace, configuration), workspace, configuration.data)
        for trial in todo:
            with tempfile.TemporaryDirectory() as scratch:
                place = checkpoint_of(client, trial, Path(scratch))
                _score(client, trial.run_id, TRAINED, place, workspace, configuration.data)
    own = [_logged(client, trial.run_id, TRAINED) for trial in winners]
    return own, _logged(client, sweep.run_id, BASE)


def others_scored(sweep: SweepRecord, winners: Sequence[Trial]) -> list[Trial]:
    """Trials of the sweep whose test scores are known already, though they are not among `winners`."""
    own = {trial.run_id for trial in winners}
    return [t for t in sweep.trials if t.run_id not in own and f"{TRAINED}/temporal" in t.metrics]


def _workspace(sweep: SweepRecord, data: Path | None, cache: Path) -> Workspace:
    """The sweep's own dataset. Raises InputError where it is not found, or its content is not what it was."""
    tags = sweep.tags
    if "dataset_digest" not in tags:
        raise InputError(f"the run of sweep {sweep.name!r} has no tag dataset_digest: run the sweep's command again")
    folder = data or Path(tags["data"])
    if not folder.is_dir():
        raise InputError(f"the dataset of sweep {sweep.name!r} is not in {folder}: name its folder with --data")
    workspace = open_workspace(folder, cache)
    if workspace.dataset_digest != tags["dataset_digest"]:
        raise InputError(
            f"{folder} is not the dataset of sweep {sweep.name!r}: its digest is {workspace.dataset_digest[:12]}..., "
            f"the sweep's {tags['dataset_digest'][:12]}...; --data names another folder"
        )
    return workspace


def _score(
    client: MlflowClient,
    run_id: str,
    prefix: str,
    place: Path,
    workspace: Workspace,
    data: DataSettings,
) -> None:
    model = checkpoint.load(place)
    model.module().to("cuda" if torch.cuda.is_available() else "cpu")
    scores = evaluate(workspace, data, model, data.test_folds)
    now_ms = int(time.time() * 1000)
    values = score_metrics(scores, prefix).items()
    client.log_batch(run_id, metrics=[Metric(name, value, now_ms, 0) for name, value in values])


def _logged(client: MlflowClient, run_id: str, prefix: str) -> dict[str, float]:
    metrics = client.get_run(run_id).data.metrics
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(start)}
