"""MLflow: one parent run for a sweep, one child for each configuration and seed, never two for the same.

Runs are found by their tags, so whoever comes again (a retry, a resumed sweep) continues the run of before.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from requests.exceptions import RequestException

from tclap.config import Configuration, config_hash
from tclap.errors import InputError
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import summary
from tclap.places import Place, Result
from tclap.sweep.plan import label

EXPERIMENT = "tclap"
KIND_SWEEP, KIND_TRIAL, KIND_STAGE_A = "sweep", "trial", "stage_a"
PACKAGES = ("tclap", "torch", "ray", "mlflow", "optuna", "numpy", "msclap")
BATCH_METRICS = 900  # MLflow takes 1000 metrics in one log_batch


def tracking_uri(storage: Place) -> str:
    """MLFLOW_TRACKING_URI, or SQLite below `storage`. Raises InputError where neither is possible."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if not given and not isinstance(storage, Path):
        raise InputError(f"--storage {storage} cannot hold MLflow's database: set MLFLOW_TRACKING_URI to a server")
    return given or f"sqlite:///{storage.resolve() / 'mlflow.db'}"


def connect(uri: str, storage: Place) -> tuple[MlflowClient, str]:
    """A client and the id of the experiment, made where it does not exist.

    Call it once in the driver before any worker does: the first client of a fresh SQLite file makes its tables.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its "creating tables" would look like an error
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # the sweep's last lines say it once
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return client, experiment.experiment_id
    # A server decides for itself where artifacts go; SQLite would put them below the working directory.
    beside = storage.resolve() if isinstance(storage, Path) else Path(uri.removeprefix("sqlite:///")).resolve().parent
    location = (beside / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
    try:
        return client, client.create_experiment(EXPERIMENT, artifact_location=location)
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
) -> str:
    """Run id of the sweep's parent run; `data` is where the dataset was the last time.

    Raises InputError where the name stands for another sweep in this MLflow, whatever storage that one had.
    """
    identity = {"sweep": name, "kind": KIND_SWEEP}
    for run in find_runs(client, experiment_id, identity):
        old = {**run.data.params, "dataset_digest": run.data.tags.get("dataset_digest", dataset_digest)}
        new = {**{key: _shown(value) for key, value in parameters.items()}, "dataset_digest": dataset_digest}
        changes = [
            f"{key} was {old[key]}, now {new[key]}" for key in sorted(old.keys() & new.keys()) if old[key] != new[key]
        ]
        if changes:
            raise InputError(
                f"the name {name} stands for another sweep in MLflow ({client.tracking_uri}): {'; '.join(changes)}; "
                "choose another --name"
            )
    dataset = {"data": str(data.resolve()), "dataset_digest": dataset_digest}
    tags = {"mlflow.runName": name, **dataset, **_provenance()}
    return _get_or_create(client, experiment_id, identity, tags, parameters)


def child_run(
    client: MlflowClient,
    experiment_id: str,
    sweep: str,
    parent_id: str,
    configuration: Configuration,
    seed: int,
    stage_a_run_id: str | None,
) -> str:
    """Run id of one configuration and seed, RUNNING."""
    stage_a = {"stage_a_run": stage_a_run_id} if stage_a_run_id else {}
    tags = {
        "kind": KIND_STAGE_A if configuration.stages == "A" else KIND_TRIAL,
        "mlflow.parentRunId": parent_id,
        "mlflow.runName": f"{label(configuration)}  seed {seed}",
        "host": socket.gethostname(),
        **stage_a,
        **_provenance(),
    }
    parameters = {**flatten(configuration.model_dump(mode="json", exclude_none=True)), "seed": seed}
    return _get_or_create(client, experiment_id, identity_of(sweep, configuration, seed), tags, parameters)


def identity_of(sweep: str, configuration: Configuration, seed: int) -> dict[str, str]:
    """The tags by which the run of one configuration and seed is found."""
    return {"sweep": sweep, "config_hash": config_hash(configuration), "seed": str(seed)}


def _shown(value: object) -> str:
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
        params=[Param(key, _shown(value)) for key, value in parameters.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    return run_id


def find_runs(client: MlflowClient, experiment_id: str, tags: Mapping[str, str]) -> list[Run]:
    """Every run with all of `tags`, oldest first."""
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], query, page_token=token, order_by=["attributes.start_time ASC"])
        runs += page
        token = page.token
        if not token:
            return runs


def is_away(error: BaseException) -> bool:
    """Whether MLflow's client gave up on a server that does not answer, or only with errors of its own."""
    return isinstance(error, MlflowException) and isinstance(error.__context__, RequestException)


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Raise InputError where MLflow's server does not answer, or refuses, in the block."""
    try:
        yield
    except MlflowException as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"MLflow at {uri}: {first} (what is done stays; the same command goes on from there)"
        ) from error


class LossLog:
    """Buffers training metrics and writes them in batches: MLflow takes 15-25 ms a call whatever its size.

    Steps that the run has already, logged by a process that was killed, are not logged again: the same configuration
    and seed gives the same losses.
    """

    def __init__(self, client: MlflowClient, run_id: str, every_s: float = 2.0) -> None:
        self._client, self._run_id, self._every_s = client, run_id, every_s
        self._first = 1 + max((metric.step for metric in client.get_metric_history(run_id, "train/loss")), default=-1)
        self._waiting: list[Metric] = []
        self._last = time.monotonic()

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        if step < self._first:
            return
        now_ms = int(time.time() * 1000)
        self._waiting += [Metric(f"train/{name}", value, now_ms, step) for name, value in metrics.items()]
        if len(self._waiting) >= BATCH_METRICS or time.monotonic() - self._last > self._every_s:
            self.flush()

    def flush(self) -> None:
        for start in range(0, len(self._waiting), BATCH_METRICS):
            self._client.log_batch(self._run_id, metrics=self._waiting[start : start + BATCH_METRICS])
        self._waiting = []
        self._last = time.monotonic()


def finish(
    client: MlflowClient,
    run_id: str,
    scores: Mapping[str, Score],
    checkpoint: Path,
    extra: Mapping[str, float],
) -> None:
    """Log the checkpoint, then every final metric and the `done` tag at once, and end the run."""
    client.log_artifacts(run_id, str(checkpoint), "checkpoint")
    now_ms = int(time.time() * 1000)
    values = {**score_metrics(scores), **extra}
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, now_ms, 0) for key, value in values.items()],
        tags=[RunTag("done", "true")],
    )
    client.set_terminated(run_id, "FINISHED")


def fail(client: MlflowClient, run_id: str, trace: str) -> None:
    """Leave the traceback on the run and end it as FAILED."""
    client.log_text(run_id, trace, "traceback.txt")
    client.set_terminated(run_id, "FAILED")


def score_metrics(scores: Mapping[str, Score], prefix: str = "zste") -> dict[str, float]:
    """zste/3A and so on, with zste_low/, zste_high/ (95% interval), zste_n/ and zste_chance/ beside it."""
    values = {f"{prefix}/{name}": value for name, value in summary(dict(scores)).items()}
    for name, score in scores.items():
        values[f"{prefix}/{name}"] = score.value
        values[f"{prefix}_low/{name}"] = score.low
        values[f"{prefix}_high/{name}"] = score.high
        values[f"{prefix}_n/{name}"] = score.n
        values[f"{prefix}_chance/{name}"] = score.chance
    return values


def mean_metrics(results: Sequence[Result]) -> dict[str, float]:
    """Each metric's mean over the seeds of a configuration: what a searcher and Tune see."""
    metrics = [score_metrics(result.scores) for result in results]
    return {key: sum(m[key] for m in metrics) / len(metrics) for key in metrics[0]}


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


@functools.cache
def _provenance() -> dict[str, str]:
    tags = {f"version.{package}": importlib.metadata.version(package) for package in PACKAGES}
    commit = os.environ.get("TCLAP_GIT_COMMIT") or _git_commit()
    return {**tags, "git_commit": commit} if commit else tags


def _git_commit() -> str | None:
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "rev-parse", "HEAD"]
        out = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:  # no git on this machine: an image, say
        return None
    return out.stdout.strip() or None if out.returncode == 0 else None
