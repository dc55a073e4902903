"""One configuration as a Ray Tune trial: drives one Ray Train worker group, and tells bugs from what was lost."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import Any

import ray.train
from mlflow.exceptions import MlflowException
from ray import tune
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.constants import CHECKPOINT_MANAGER_SNAPSHOT_FILENAME
from upath import UPath

from tclap import distributed
from tclap.config import Configuration, config_hash
from tclap.lanes.worker import CodeError, Sweep, is_rays, mlflow_run, train_worker
from tclap.places import at, read_result, seed_folder, stop_requested
from tclap.tracking import runs as tracking

log = logging.getLogger(__name__)
DONE, FAILED, STOPPED = "done", "failed", "stopped"  # outcomes of a trial


def run_trial(point: dict[str, Any], sweep: Sweep) -> None:
    """The Tune function: drives one worker group, and reports once how it ended, with each metric's mean over seeds.

    An error in the code or the data is reported as an outcome; what is raised here (a worker or a node was lost, MLflow
    stayed away) Tune tries again, and the worker group goes on from its last checkpoint.
    """
    configuration = Configuration.model_validate_json(point["configuration"])
    if stop_requested(at(sweep.folder)):
        tune.report({"outcome": STOPPED})
        return
    reason = _cannot_start(configuration, sweep) or _fit(configuration, sweep)
    found = [read_result(seed_folder(at(sweep.folder), configuration, seed)) for seed in sweep.seeds]
    done = [result for result in found if result is not None]
    if len(done) == len(sweep.seeds):
        tune.report({"outcome": DONE, **tracking.mean_metrics(done)})
    elif reason is None and stop_requested(at(sweep.folder)):
        tune.report({"outcome": STOPPED})
    else:
        tune.report({"outcome": FAILED, "reason": reason or "the worker group ended without all seeds done"})


def _cannot_start(configuration: Configuration, sweep: Sweep) -> str | None:
    if configuration.stages != "AB":
        return None
    stage_a = configuration.stage_a_configuration()
    missing = [s for s in sweep.seeds if read_result(seed_folder(at(sweep.folder), stage_a, s)) is None]
    return f"its stage-A run {config_hash(stage_a)} is not done for seeds {missing}" if missing else None


def _fit(configuration: Configuration, sweep: Sweep) -> str | None:
    """Run the worker group; the error that its own code raised, if any, as one line. Raises what a retry may mend.

    Such an error is left on its seed's MLflow run, whichever worker it came from.
    """
    # A fixed name and place: a retried or resumed trial continues from its own last checkpoint.
    name = f"train-{config_hash(configuration)}"
    forget_if_broken(at(sweep.folder) / "ray" / name)
    scaling = ray.train.ScalingConfig(
        num_workers=sweep.workers,
        use_gpu=sweep.gpus_per_worker > 0,
        resources_per_worker={"CPU": 1, **({"GPU": sweep.gpus_per_worker} if sweep.gpus_per_worker else {})},
    )
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"configuration": configuration.model_dump_json(), "sweep": asdict(sweep)},
        scaling_config=scaling,
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=f"{sweep.folder}/ray",
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            # Train cannot tell a bug from a lost worker, and its retries would multiply Tune's.
            failure_config=ray.train.FailureConfig(max_failures=0),
        ),
    )
    try:
        trainer.fit()
    except ray.train.WorkerGroupError as error:
        failures = list(error.worker_failures.values())
        own = [e for e in failures if not distributed.lost_a_peer(e) and not isinstance(e, MlflowException)]
        # When a worker dies the others fail with all sorts of errors; a bug comes again without a death.
        if any(is_rays(e) for e in failures) or not own:
            raise
        return _leave_traceback(own[0], configuration, sweep)
    return None


def _leave_traceback(error: Exception, configuration: Configuration, sweep: Sweep) -> str:
    """Fail the seed's MLflow run with the traceback of `error`; returns the error as one line."""
    if not isinstance(error, CodeError):  # it came before any seed
        return f"{type(error).__name__}: {error}"
    try:
        client = tracking.connect(sweep.tracking_uri, at(sweep.folder).parent)[0]
        identity = tracking.identity_of(sweep.name, configuration, error.seed)
        found = tracking.find_runs(client, sweep.experiment_id, identity)
        run_id = found[0].info.run_id if found else mlflow_run(client, sweep, configuration, error.seed)
        tracking.fail(client, run_id, error.trace)
    except Exception as refused:
        if tracking.is_away(refused):
            raise  # later
        # It may be what failed the trial: raised, it would be tried again and again.
        log.error("the traceback cannot be left in MLflow (%s):\n%s", refused, error.trace)
    return error.reason


def forget_if_broken(run: UPath) -> None:
    """Remove Ray Train's files of a trial whose list of checkpoints is half written, or names one that is gone.

    Train overwrites the list in place, and refuses every later start of a trial where it cannot be read.
    """
    snapshot = run / CHECKPOINT_MANAGER_SNAPSHOT_FILENAME
    if not snapshot.exists():
        return
    try:
        listed = json.loads(snapshot.read_text(encoding="utf-8")).get("checkpoint_results", [])
        broken = not all((run / checkpoint["checkpoint_dir_name"]).exists() for checkpoint in listed)
    except json.JSONDecodeError:
        broken = True
    if broken:
        log.warning("%s is broken: its trial starts anew", snapshot)
        run.fs.rm(run.path, recursive=True)
