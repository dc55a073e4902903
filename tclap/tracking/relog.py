"""A finished seed is logged again, from its result and its checkpoint, if MLflow does not have it any more."""

from __future__ import annotations

import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric
from pydantic import ValidationError

from tclap.config import Configuration, config_hash, from_record
from tclap.errors import InputError
from tclap.evaluation.details import Details
from tclap.sweep.curve import best_metrics
from tclap.sweep.ledger import Result
from tclap.tracking import runs as tracking
from tclap.training import checkpoint

AGAIN = "logged_again"  # tag of such a run: its losses by step are gone


def relog(
    client: MlflowClient,
    experiment_id: str,
    sweep: str,
    parent_id: str,
    configuration: Configuration,
    result: Result,
    saved: Path,
    stage_a_run_id: str | None,
    details: Details | None = None,
) -> str:
    """Log parameters, scores and the checkpoint `saved` of a finished seed as a run that is FINISHED; its run id."""
    run_id = tracking.child_run(client, experiment_id, sweep, parent_id, configuration, result.seed, stage_a_run_id)
    client.set_tag(run_id, AGAIN, "true")
    client.set_tag(run_id, "host", result.host)
    extra = {"train_s": result.train_s, **tracking.retrieval_metrics(result.retrieval), **best_metrics(result.curve)}
    scored = {metric.step for metric in client.get_metric_history(run_id, tracking.ALWAYS_SCORED)}
    last = configuration.optimiser.steps if result.stopped_at is None else result.stopped_at
    now_ms = int(time.time() * 1000)
    for step, values in result.curve.items():
        if step not in {*scored, last}:  # the last is logged with the final scores
            client.log_batch(run_id, metrics=[Metric(name, value, now_ms, step) for name, value in values.items()])
    stopped = "" if result.stopped_at is None else "why is not known any more"
    tracking.finish(client, run_id, result.scores, saved, extra, last, details, last in scored, stopped)
    return run_id


def configuration_of(saved: Path, result: Result) -> Configuration:
    """What the checkpoint `saved` was trained as. Raises InputError if it does not say, or says something else."""
    made = checkpoint.read_config(saved).get("provenance")
    try:
        configuration = from_record(made["configuration"])  # type: ignore[index]
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise InputError(f"{saved} does not say which configuration it is of") from error
    if config_hash(configuration) != result.config_hash:
        raise InputError(f"{saved} is of another configuration than its result")
    return configuration
