"""The test folds: scored once, for a sweep's winner and its untrained base, and read back from MLflow ever after."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric

from tclap.config import with_seed
from tclap.data.dataset import check_folds
from tclap.errors import InputError
from tclap.evaluation.embed import zste_credits
from tclap.evaluation.items import Suite
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import build_suite, difference_scores, scores_of
from tclap.experiment import Workspace, base_of, open_workspace
from tclap.models import best_device
from tclap.tracking.champion import checkpoint_of
from tclap.tracking.read import SweepRecord, Trial
from tclap.tracking.runs import score_metrics
from tclap.training import checkpoint
from tclap.training.base import seen_classes

TRAINED, BASE, DIFFERENCE = "zste_test", "zste_test_base", "zste_test_difference"


@dataclass(frozen=True)
class Logged:
    """Scores in percent as MLflow has them, by column; the means over columns have no interval."""

    value: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]


@dataclass(frozen=True)
class TestScores:
    """On the test folds, one for each seed: the winner's, those of the base that the seed starts from, and the winner's
    less the base's, item by item."""

    winner: list[Logged]
    base: list[Logged]
    difference: list[Logged]


def scores_on_test_folds(
    client: MlflowClient, sweep: SweepRecord, winners: Sequence[Trial], data: Path | None, cache: Path
) -> TestScores:
    """What the sweep's winner gets on the test folds.

    winners: one configuration's seeds. Whatever is not logged yet is computed and logged on each winner's run, as
    zste_test/..., zste_test_base/... and zste_test_difference/.... A difference pairs the two models' answers to the
    same items. data: the dataset, a folder or a csv, if it has moved. Raises InputError if it is missing or another
    one, and if the sweep kept no test folds.
    """
    todo = [trial for trial in winners if not {f"{DIFFERENCE}/1", f"{BASE}/1"} <= set(trial.metrics)]
    if todo:
        settings = winners[0].configuration.data
        folds = settings.test_folds
        if not folds:
            raise InputError(f"sweep {sweep.name!r} kept no test folds (--test-folds), so its winner has no test score")
        workspace = _workspace(sweep, data, cache)
        check_folds(workspace.dataset, {"test_folds": folds})
        suite = build_suite(workspace.dataset, folds, settings)
        unseen = np.setdiff1d(np.arange(len(workspace.dataset.class_names)), seen_classes(workspace.dataset, settings))
        bases: dict[Path, dict[str, np.ndarray]] = {}
        for trial in todo:
            place = base_of(workspace, with_seed(trial.configuration, trial.seed))
            if place not in bases:
                bases[place] = _credits(place, workspace, suite)
            with tempfile.TemporaryDirectory() as scratch:
                own = _credits(checkpoint_of(client, trial, Path(scratch)), workspace, suite)
            found = score_metrics(scores_of(suite, own, unseen), TRAINED)
            found |= score_metrics(scores_of(suite, bases[place], unseen), BASE)
            _log(client, trial.run_id, found | _metrics(difference_scores(suite, own, bases[place]), DIFFERENCE))
    return TestScores(
        [_logged(client, trial.run_id, TRAINED) for trial in winners],
        [_logged(client, trial.run_id, BASE) for trial in winners],
        [_logged(client, trial.run_id, DIFFERENCE) for trial in winners],
    )


def others_scored(sweep: SweepRecord, winners: Sequence[Trial]) -> list[Trial]:
    """Trials of the sweep whose test scores are known already, though they are not among `winners`."""
    own = {trial.run_id for trial in winners}
    return [t for t in sweep.trials if t.run_id not in own and f"{TRAINED}/temporal" in t.metrics]


def _workspace(sweep: SweepRecord, data: Path | None, cache: Path) -> Workspace:
    """The sweep's own dataset. Raises InputError where it is not found, or its content is not what it was."""
    tags = sweep.tags
    if "dataset_digest" not in tags:
        raise InputError(f"the run of sweep {sweep.name!r} has no tag dataset_digest: run the sweep's command again")
    place = data or Path(tags["data"])
    if not place.exists():
        raise InputError(f"the dataset of sweep {sweep.name!r} is not at {place}: name its folder or csv with --data")
    workspace = open_workspace(place, cache)
    if workspace.dataset_digest != tags["dataset_digest"]:
        raise InputError(
            f"{place} is not the dataset of sweep {sweep.name!r}: its digest is {workspace.dataset_digest[:12]}..., "
            f"the sweep's {tags['dataset_digest'][:12]}...; name the sweep's own folder or csv with --data"
        )
    return workspace


def _credits(place: Path, workspace: Workspace, suite: Suite) -> dict[str, np.ndarray]:
    model = checkpoint.load(place)
    model.module().to(best_device())
    return zste_credits(model, workspace.dataset, workspace.dataset_digest, suite, workspace.cache)


def _metrics(scores: Mapping[str, Score], prefix: str) -> dict[str, float]:
    """Value and interval of each score; a difference has neither a chance level nor means over columns."""
    parts = {"": "value", "_low": "low", "_high": "high"}
    return {
        f"{prefix}{end}/{name}": getattr(score, field) for name, score in scores.items() for end, field in parts.items()
    }


def _log(client: MlflowClient, run_id: str, values: Mapping[str, float]) -> None:
    now_ms = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(name, value, now_ms, 0) for name, value in values.items()])


def _logged(client: MlflowClient, run_id: str, prefix: str) -> Logged:
    metrics = client.get_run(run_id).data.metrics
    parts = []
    for start in (f"{prefix}/", f"{prefix}_low/", f"{prefix}_high/"):
        parts.append({name.removeprefix(start): v for name, v in metrics.items() if name.startswith(start)})
    return Logged(*parts)
