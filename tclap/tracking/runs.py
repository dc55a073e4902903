"""MLflow: one parent run for a sweep, one child for each configuration and seed, never two for the same.

Runs are found by their tags, so whoever comes again (a retry, a resumed sweep) continues the run of before.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode

from tclap.axes import Axis, label
from tclap.config import Configuration, config_hash
from tclap.errors import InputError
from tclap.evaluation.details import Details
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import bound_values, metric_values
from tclap.places import Place
from tclap.redact import without_passwords
from tclap.report.run_note import run_line, scores_note
from tclap.sweep.ledger import Result
from tclap.tracking.artifacts import log_details, log_score_facts
from tclap.tracking.page import KIND_TAG, NOTE_TAG, TRAINING, extend_note, log_checkpoint_model
from tclap.tracking.provenance import copy_origin, versions
from tclap.tracking.uri import answering as answering
from tclap.tracking.uri import check_not_deleted, database_file
from tclap.tracking.uri import is_away as is_away
from tclap.tracking.uri import tracking_uri as tracking_uri

EXPERIMENT = "tclap"
KIND_SWEEP, KIND_TRIAL, KIND_STAGE_A, KIND_TRAIN = "sweep", "trial", "stage_a", "train"
TRACEBACK = "traceback.txt"
ALWAYS_SCORED = "zste/1"  # at every step at which the suite was scored
ASKED = "asked."  # before a setting that may be another one at every start
STOPPED_AT, STOPPED_WHY = "stopped_at", "stopped_why"  # tags of a run that was stopped early
BATCH_METRICS = 900  # MLflow takes 1000 metrics in one log_batch


def connect(uri: str, storage: Place) -> tuple[MlflowClient, str]:
    """A client and the id of the experiment, made where it does not exist.

    Call it once in the driver before any worker does: the first client of a fresh SQLite file makes its tables.
    Raises InputError if the experiment was deleted, and what MLflow raises (`uri.ERRORS`) if there is no answer.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its "creating tables" would look like an error
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # the sweep's last lines say it once
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        check_not_deleted(experiment, uri)
        return client, experiment.experiment_id
    # A server decides for itself where artifacts go; SQLite would put them below the working directory.
    database = database_file(uri)
    beside = storage.resolve() if isinstance(storage, Path) else database.parent if database else None
    location = (beside / "mlartifacts").as_uri() if database and beside else None
    try:
        return client, client.create_experiment(EXPERIMENT, artifact_location=location, tags={KIND_TAG: TRAINING})
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
        return client, client.get_experiment_by_name(EXPERIMENT).experiment_id


def sweep_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    parameters: Mapping[str, object],
    data: Path,
    dataset_digest: str,
    asked: Mapping[str, object] | None = None,
) -> str:
    """Run id of the sweep's parent run; `data` is where the dataset was the last time.

    parameters: what the name stands for. asked: what the latest start asked for besides, as tags: MLflow's parameters
    never change. Raises InputError where the name stands for another sweep in this MLflow, whatever storage that one
    had.
    """
    identity = {"sweep": name, "kind": KIND_SWEEP}
    for run in find_runs(client, experiment_id, identity):
        old = {**run.data.params, "dataset_digest": run.data.tags.get("dataset_digest", dataset_digest)}
        new = {**{key: as_parameter(value) for key, value in parameters.items()}, "dataset_digest": dataset_digest}
        changes = [
            f"{key} was {old[key]}, now {new[key]}" for key in sorted(old.keys() & new.keys()) if old[key] != new[key]
        ]
        if changes:
            raise InputError(
                f"the name {name} stands for another sweep in MLflow ({without_passwords(client.tracking_uri)}): "
                f"{'; '.join(changes)}; choose another --name"
            )
    dataset = {"data": str(data.resolve()), "dataset_digest": dataset_digest}
    wanted = {f"{ASKED}{key}": as_parameter(value) for key, value in (asked or {}).items()}
    tags = {"mlflow.runName": name, **dataset, **wanted, **versions()}
    return _get_or_create(client, experiment_id, identity, tags, parameters)


def child_run(
    client: MlflowClient,
    experiment_id: str,
    sweep: str,
    parent_id: str,
    configuration: Configuration,
    seed: int,
    stage_a_run_id: str | None,
    varying: Sequence[Axis] = (),
) -> str:
    """Run id of one configuration and seed, RUNNING. varying: what the run's name tells besides the usual."""
    tags = {
        "kind": KIND_STAGE_A if configuration.stages == "A" else KIND_TRIAL,
        "mlflow.parentRunId": parent_id,
        "mlflow.runName": f"{label(configuration, varying)}  seed {seed}",
        NOTE_TAG: run_line(configuration, seed, f"A run of the sweep **{sweep}**"),
        **_made_by(stage_a_run_id),
    }
    identity = identity_of(sweep, configuration, seed)
    run_id = _get_or_create(client, experiment_id, identity, tags, _parameters(configuration, seed))
    copy_origin(client, run_id, parent_id)
    return run_id


def single_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    configuration: Configuration,
    seed: int,
    stage_a_run_id: str | None,
) -> str:
    """Run id of a new run of `tclap train`, RUNNING: of no sweep, and another one each time."""
    tags = {
        "kind": KIND_TRAIN,
        "mlflow.runName": f"{name}: {label(configuration)}  seed {seed}",
        "config_hash": config_hash(configuration),
        NOTE_TAG: run_line(configuration, seed, "A run of **tclap train**"),
        **_made_by(stage_a_run_id),
    }
    run_id: str = client.create_run(experiment_id, tags=tags).info.run_id
    parameters = _parameters(configuration, seed)
    client.log_batch(run_id, params=[Param(key, as_parameter(value)) for key, value in parameters.items()])
    return run_id


def _made_by(stage_a_run_id: str | None) -> dict[str, str]:
    """Tags that say what made a run: the machine, the versions, and the run of stage A that it starts from, if any."""
    stage_a = {"stage_a_run": stage_a_run_id} if stage_a_run_id else {}
    return {"host": socket.gethostname(), **stage_a, **versions()}


def _parameters(configuration: Configuration, seed: int) -> dict[str, object]:
    return {**flatten(configuration.model_dump(mode="json", exclude_none=True)), "seed": seed}


def identity_of(sweep: str, configuration: Configuration, seed: int) -> dict[str, str]:
    """The tags by which the run of one configuration and seed is found."""
    return {"sweep": sweep, "config_hash": config_hash(configuration), "seed": str(seed)}


def as_parameter(value: object) -> str:
    return str(value)[:6000]  # MLflow's limit


def _get_or_create(
    client: MlflowClient,
    experiment_id: str,
    identity: Mapping[str, str],
    tags: Mapping[str, str],
    parameters: Mapping[str, object],
) -> str:
    found = find_runs(client, experiment_id, identity)
    if found:
        run_id: str = found[0].info.run_id
        client.update_run(run_id, status="RUNNING")
    else:
        run_id = client.create_run(experiment_id, tags={**identity, **tags}).info.run_id
    client.log_batch(
        run_id,
        params=[Param(key, as_parameter(value)) for key, value in parameters.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    return run_id


def find_runs(
    client: MlflowClient,
    experiment_id: str,
    tags: Mapping[str, str],
    where: str = "",
    view: int = ViewType.ACTIVE_ONLY,
) -> list[Run]:
    """Every run with all of `tags` for which `where` holds (MLflow's query language), oldest first.

    MLflow reads all that it has of each, some 3 ms a run.
    """
    query = " and ".join([*(f"tags.`{key}` = '{value}'" for key, value in tags.items()), *([where] if where else [])])
    runs: list[Run] = []
    token = None
    while True:
        order = ["attributes.start_time ASC"]
        page = client.search_runs([experiment_id], query, view, page_token=token, order_by=order)
        runs += page
        token = page.token
        if not token:
            return runs


def finish(
    client: MlflowClient,
    run_id: str,
    scores: Mapping[str, Score],
    checkpoint: Path,
    extra: Mapping[str, float],
    step: int,
    details: Details | None = None,
    logged: bool = False,
    stopped: str = "",
) -> None:
    """Log checkpoint, scores.json and what lies behind the scores, then every final metric, as those of the checkpoint,
    and the `done` tag at once, and end the run.

    step: how many steps of its stage were taken: the metrics' step. logged: the run has those metrics already, from a
    process that was killed before it could write its result. stopped: why it was stopped early after those steps.
    """
    client.log_artifacts(run_id, str(checkpoint), "checkpoint")
    log_score_facts(client, run_id, scores)
    if details is not None:
        log_details(client, run_id, details)
    extend_note(client, run_id, scores_note(scores, stopped))
    values = {} if logged else {**score_metrics(scores), **extra}
    early = {STOPPED_AT: str(step), STOPPED_WHY: stopped} if stopped else {}
    log_checkpoint_model(client, run_id, values, step, int(time.time() * 1000), run_tags={"done": "true", **early})
    client.set_terminated(run_id, "FINISHED")


def go_on(client: MlflowClient, run_id: str) -> None:
    """Take back that a run is done, and its checkpoint's model: one that was stopped early goes on.

    Where it was killed in the middle of this, the next call does the rest.
    """
    run = client.get_run(run_id)
    if STOPPED_AT not in run.data.tags:
        return
    for model in client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'"):
        with gone_is_well():
            client.delete_logged_model(model.model_id)
    for key in ("done", STOPPED_WHY, STOPPED_AT):  # the last is what says that there is something to take back
        with gone_is_well():
            client.delete_tag(run_id, key)


@contextmanager
def gone_is_well() -> Iterator[None]:
    """For what deletes: MLflow refuses it where there is nothing, and it may have heard the same call before."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise


def fail(client: MlflowClient, run_id: str, trace: str) -> None:
    """Leave the traceback on the run, its last line in the note, and end it as FAILED."""
    told = without_passwords(trace).strip()
    last = told.rpartition("\n")[2]
    client.log_text(run_id, told, TRACEBACK)
    extend_note(client, run_id, f"Failed, see {TRACEBACK}:\n\n```\n{last}\n```\n")
    client.set_terminated(run_id, "FAILED")


def score_metrics(scores: Mapping[str, Score], prefix: str = "zste") -> dict[str, float]:
    """zste/3A, order/moved and so on, with zste_low/ and zste_high/ (95% interval); n and chance are in scores.json."""
    return metric_values(scores, prefix) | bound_values(scores, prefix)


def mean_metrics(results: Sequence[Result]) -> dict[str, float]:
    """Each metric's mean over the seeds of a configuration, of those that all have: what a searcher and Tune see."""
    first, *others = metrics = [score_metrics(result.scores) for result in results]
    shared = [key for key in first if all(key in other for other in others)]  # older results lack some
    return {key: sum(m[key] for m in metrics) / len(metrics) for key in shared}


def retrieval_metrics(retrieval: Mapping[str, Mapping[str, Score]]) -> dict[str, float]:
    """retrieval/NAME/t2a_r1 and so on, with retrieval_low/ and retrieval_high/ beside it."""
    values = {}
    for benchmark, scores in retrieval.items():
        for name, score in scores.items():
            values[f"retrieval/{benchmark}/{name}"] = score.value
            values[f"retrieval_low/{benchmark}/{name}"] = score.low
            values[f"retrieval_high/{benchmark}/{name}"] = score.high
    return values


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """{"a": {"b": 1}} -> {"a.b": 1}; lists are kept as they are."""

    def pairs(inner: Mapping[str, Any], path: str) -> Iterator[tuple[str, object]]:
        for key, item in inner.items():
            if isinstance(item, Mapping):
                yield from pairs(item, f"{path}{key}.")
            else:
                yield f"{path}{key}", item

    return dict(pairs(value, prefix))
