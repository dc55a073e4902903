"""What lies behind a run's scores, as its artifacts: facts of each score, order by pairs and by classes, mistakes."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from mlflow import MlflowClient

from tclap.evaluation.details import Details, to_json
from tclap.evaluation.statistics import Score
from tclap.places import DETAILS

SCORES_FILE = "scores.json"  # value, interval, n and chance of every score
CLASSES_FILE = "order_by_class.csv"  # percent right over the items that hold a class, worst first
PAIRS_FILE = "order_by_pair.csv"  # percent right: rows are the class that comes first, columns the second


def log_score_facts(client: MlflowClient, run_id: str, scores: Mapping[str, Score]) -> None:
    """Value, interval, n and chance of every score as one artifact, `scores.json`."""
    client.log_dict(run_id, {name: asdict(score) for name, score in scores.items()}, SCORES_FILE)


def log_details(client: MlflowClient, run_id: str, details: Details) -> None:
    """What lies behind the scores, and order by pairs of classes and by classes."""
    client.log_text(run_id, to_json(details), DETAILS)
    client.log_text(run_id, details.pairs().to_csv(lineterminator="\n"), PAIRS_FILE)
    client.log_text(run_id, details.per_class().to_csv(index=False, lineterminator="\n"), CLASSES_FILE)


def read_score_facts(client: MlflowClient, run_id: str) -> dict[str, Score]:
    """What `log_score_facts` wrote; empty for a run that has none."""
    found = json.loads(_read_text(client, run_id, SCORES_FILE) or "{}")
    return {name: Score(**score) for name, score in found.items()}


def read_class_names(client: MlflowClient, run_id: str) -> list[str]:
    """The sounds that a run was scored on, by `log_details`; empty for a run that does not say."""
    header = next(csv.reader(_read_text(client, run_id, PAIRS_FILE).splitlines()), [])
    return header[1:]


def _read_text(client: MlflowClient, run_id: str, file: str) -> str:
    """A text artifact, empty if the run has none of that name."""
    if not any(artifact.path == file for artifact in client.list_artifacts(run_id)):
        return ""
    with tempfile.TemporaryDirectory() as scratch:
        return Path(client.download_artifacts(run_id, file, scratch)).read_text(encoding="utf-8")
