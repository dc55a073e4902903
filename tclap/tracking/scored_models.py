"""MLflow runs of models that were scored and not trained: one for the list, and one below it for each model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from tclap.evaluation.statistics import Score
from tclap.tracking.runs import as_parameter, find_runs, score_metrics

KIND_LIST, KIND_MODEL = "model_list", "scored_model"
PROBLEM = "problem"  # the tag that says why a model has no scores


def open_list(client: MlflowClient, experiment_id: str, name: str, parameters: Mapping[str, object]) -> str:
    """Run id of the list `name`, RUNNING; the same name goes on with the run of before."""
    tags = {"model_list": name, "kind": KIND_LIST}
    return _open(client, experiment_id, tags, {"mlflow.runName": name}, parameters)


def log_model(
    client: MlflowClient,
    experiment_id: str,
    list_name: str,
    parent_id: str,
    model: str,
    parameters: Mapping[str, object],
    scores: Mapping[str, Score],
    problem: str | None,
) -> str:
    """One model's run: its scores as metrics, or FAILED with the tag PROBLEM. Returns the run id."""
    identity = {"model_list": list_name, "kind": KIND_MODEL, "model": model}
    run_id = _open(
        client, experiment_id, identity, {"mlflow.runName": model, "mlflow.parentRunId": parent_id}, parameters
    )
    if problem is not None:
        client.set_tag(run_id, PROBLEM, problem)
        client.set_terminated(run_id, "FAILED")
        return run_id
    now_ms = int(time.time() * 1000)
    metrics = score_metrics(scores)
    client.log_batch(run_id, metrics=[Metric(key, value, now_ms, 0) for key, value in metrics.items()])
    client.set_terminated(run_id, "FINISHED")
    return run_id


def close_list(client: MlflowClient, run_id: str, files: list[Path], complete: bool) -> None:
    for file in files:
        client.log_artifact(run_id, str(file))
    client.set_terminated(run_id, "FINISHED" if complete else "FAILED")


def _open(
    client: MlflowClient,
    experiment_id: str,
    identity: Mapping[str, str],
    tags: Mapping[str, str],
    parameters: Mapping[str, object],
) -> str:
    """A run RUNNING. A parameter that changed since is logged anew under a run of its own: MLflow forbids a change."""
    shown = {key: as_parameter(value) for key, value in parameters.items()}
    for run in find_runs(client, experiment_id, identity):
        if run.data.params == shown:
            run_id: str = run.info.run_id
            client.update_run(run_id, status="RUNNING")
            for key, value in tags.items():  # the list may be another
                client.set_tag(run_id, key, value)
            if PROBLEM in run.data.tags:
                client.delete_tag(run_id, PROBLEM)
            return run_id
    run_id = client.create_run(experiment_id, tags={**identity, **tags}).info.run_id
    client.log_batch(run_id, params=[Param(key, value) for key, value in shown.items()])
    return run_id
