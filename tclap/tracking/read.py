"""A finished (or half finished) sweep read back from MLflow alone: its trials, their scores, the order of its table."""

from __future__ import annotations

import ast
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from pydantic import ValidationError

from tclap.config import Configuration, config_hash, from_record
from tclap.errors import InputError
from tclap.places import Place
from tclap.redact import without_passwords
from tclap.report.grid import STOPPED_AT, About
from tclap.report.tables import ROWS, about_scores, long_frame, told
from tclap.sweep.stopping import Guard, parse_guard
from tclap.tracking import runs as tracking
from tclap.tracking.artifacts import read_score_facts
from tclap.tracking.page import EXCLUDED_TAG, run_link
from tclap.tracking.uri import check_not_deleted, database_file


@dataclass(frozen=True)
class Trial:
    """One configuration and seed that is done."""

    run_id: str
    configuration: Configuration
    seed: int
    metrics: dict[str, float]
    stopped_at: float | None = None  # the step at which it was stopped early

    @property
    def config_hash(self) -> str:
        return config_hash(self.configuration)


@dataclass(frozen=True)
class SweepRecord:
    """What MLflow holds of one sweep; `trials` are in the order of its table."""

    name: str
    run_id: str  # the parent run's
    tags: dict[str, str]
    metrics: dict[str, float]
    table: str  # stem of its table's files
    objectives: tuple[str, ...]  # what a search maximised; none of a fixed list
    trials: tuple[Trial, ...]
    experiment_id: str = ""
    sound: str = ""  # what it heard, for people
    page: str = ""  # where a browser finds MLflow
    guards: tuple[Guard, ...] = ()  # what must hold of a winner

    def about(self, client: MlflowClient) -> About:
        """What its tables say of their origin, from the scores.json of each run."""
        scores = (read_score_facts(client, trial.run_id) for trial in self.trials)
        return about_scores([trial.configuration for trial in self.trials], scores, self.sound)

    def links(self) -> dict[tuple[str, int], str]:
        """(config_hash, seed) -> address of its run."""
        if not self.page:
            return {}
        return {(t.config_hash, t.seed): run_link(self.page, self.experiment_id, t.run_id) for t in self.trials}

    def frame(self) -> pd.DataFrame:
        """The same long frame that the sweep itself made its table from."""
        return long_frame(
            (trial.configuration, trial.seed, told(trial.metrics) | early)
            for trial in self.trials
            for early in [{} if trial.stopped_at is None else {STOPPED_AT: trial.stopped_at}]
        )


def existing_store(storage: Place) -> tuple[MlflowClient, str, str]:
    """Client, experiment id and URI of an MLflow store that exists. Raises InputError where there is none."""
    uri = tracking.tracking_uri(storage)
    where = without_passwords(uri)
    hint = "--storage names the sweep's storage folder, MLFLOW_TRACKING_URI a server"
    database = database_file(uri)
    if database is not None and not os.path.isfile(database):
        raise InputError(f"no MLflow store at {where}: {hint}")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tracking.answering(uri):
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    if experiment is None:
        raise InputError(f"MLflow at {where} has no experiment {tracking.EXPERIMENT!r}: no sweep has run there; {hint}")
    check_not_deleted(experiment, uri)
    return client, experiment.experiment_id, uri


def read_sweep(client: MlflowClient, experiment_id: str, name: str) -> SweepRecord:
    """The sweep `name` without what is excluded of it.

    Raises InputError: no such sweep (naming those there are), or nothing of it is done, or all of it is excluded.
    """
    parents = tracking.find_runs(client, experiment_id, {"kind": tracking.KIND_SWEEP})
    parent = next((run for run in parents if run.data.tags["sweep"] == name), None)
    if parent is None:
        there = ", ".join(sorted(run.data.tags["sweep"] for run in parents)) or "none"
        raise InputError(f"no sweep {name!r} in MLflow; there are: {there}")
    wanted = {"sweep": name, "kind": tracking.KIND_TRIAL, "done": "true"}
    done = tracking.find_runs(client, experiment_id, wanted)
    if not done:
        raise InputError(f"nothing of sweep {name!r} is done yet: it has no trial run with the tag done=true")
    trials = [_trial(run) for run in done if EXCLUDED_TAG not in run.data.tags]
    if not trials:
        raise InputError(
            f"everything of sweep {name!r} is excluded; tclap exclude --undo takes a configuration in again"
        )
    facts = _facts(client, parent)
    place = {(config, seed): n for n, (config, seed) in enumerate(facts["rows"])}
    # What is not in the list of rows (the sweep was killed before it wrote one) follows by the time of its start.
    trials.sort(key=lambda trial: place.get((trial.config_hash, trial.seed), len(place)))
    return SweepRecord(
        name,
        parent.info.run_id,
        dict(parent.data.tags),
        dict(parent.data.metrics),
        facts["table"],
        tuple(facts["objectives"]),
        tuple(trials),
        experiment_id,
        facts.get("sound", ""),
        facts.get("page", ""),
        tuple(map(parse_guard, facts.get("guards", ()))),
    )


def _facts(client: MlflowClient, parent: Run) -> dict[str, Any]:
    if not any(file.path == ROWS for file in client.list_artifacts(parent.info.run_id)):
        return {"table": "table", "objectives": [], "rows": []}
    with tempfile.TemporaryDirectory() as scratch:
        file = client.download_artifacts(parent.info.run_id, ROWS, scratch)
        facts: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    return facts


def _trial(run: Run) -> Trial:
    """Raises InputError where the run's parameters are not those of the configuration that its tag names."""
    tags = run.data.tags
    try:
        configuration = from_record(nested(run.data.params))
    except ValidationError as error:
        raise InputError(f"run {run.info.run_id} has parameters of another version of tclap: {error}") from error
    if config_hash(configuration) != tags["config_hash"]:
        raise InputError(
            f"run {run.info.run_id} says config_hash {tags['config_hash']}, but its parameters give "
            f"{config_hash(configuration)}: another version of tclap logged it"
        )
    stopped_at = float(tags[tracking.STOPPED_AT]) if tracking.STOPPED_AT in tags else None
    return Trial(run.info.run_id, configuration, int(tags["seed"]), dict(run.data.metrics), stopped_at)


def nested(params: Mapping[str, str]) -> dict[str, Any]:
    """MLflow's flat texts -> what Configuration takes: {"a.b": "[1, 2]"} -> {"a": {"b": [1, 2]}}."""
    nested: dict[str, Any] = {}
    for path, text in params.items():
        *parents, key = path.split(".")
        if (parents or [key])[0] not in Configuration.model_fields:
            continue  # the seed
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = ast.literal_eval(text) if text.startswith("[") else text
    return nested
