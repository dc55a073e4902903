"""One configuration on one Ray Train worker group: its seeds one after another, each with its own MLflow run."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray import tune
from ray.train.torch import TorchTrainer, get_device

from tclap.config import Configuration, config_hash
from tclap.evaluation.caption_files import find_clips, read_captions
from tclap.evaluation.retrieval import retrieve
from tclap.evaluation.statistics import Score
from tclap.mirror import fetch, node_cache, published_dataset
from tclap.models.base import ContrastiveModel
from tclap.orchestrate import tracking
from tclap.storage import (
    Place,
    Result,
    at,
    checkpoint_folder,
    fetched,
    read_result,
    seed_folder,
    staged,
    stop_requested,
    write_result,
)
from tclap.training import checkpoint, distributed
from tclap.training.loop import State, Stopped
from tclap.training.run import Workspace, base_of, evaluate, open_workspace, train

CHECKPOINT_EVERY_STEPS = 50
STATE_FILE = "state.pt"
STOP_POLL_S = 1.0
DONE, FAILED, STOPPED = "done", "failed", "stopped"  # outcomes of a trial


@dataclass(frozen=True)
class Sweep:
    """What every trial of a sweep needs to know; plain values, since it travels to the workers."""

    name: str
    folder: str  # a path or an s3:// URL
    data: str | None  # None: the dataset that lies at the origin
    dataset_digest: str
    cache: str
    origin: str | None  # with one, `cache` is on each node's own disk (mirror.py)
    seeds: tuple[int, ...]
    workers: int
    gpus_per_worker: float  # 0 trains on the CPU
    chunk: int | None
    retrieval: dict[str, tuple[str, str]]  # name -> (audio folder, caption file)
    tracking_uri: str
    experiment_id: str
    parent_run_id: str


def run_trial(point: dict[str, Any], sweep: Sweep) -> None:
    """The Tune function: drives one worker group, and reports once how it ended, with each metric's mean over seeds.

    An error in the code or the data is reported as an outcome; what is raised here (a worker or a node was lost) Tune
    tries again, and the worker group goes on from its last checkpoint.
    """
    configuration = Configuration.model_validate_json(point["configuration"])
    if stop_requested(at(sweep.folder)):
        tune.report({"outcome": STOPPED})
        return
    reason = _cannot_start(configuration, sweep) or _fit(point["configuration"], sweep)
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


def _fit(configuration: str, sweep: Sweep) -> str | None:
    """Run the worker group; the error that its own code raised, if any, as one line. Raises what a retry may mend."""
    scaling = ray.train.ScalingConfig(
        num_workers=sweep.workers,
        use_gpu=sweep.gpus_per_worker > 0,
        resources_per_worker={"CPU": 1, **({"GPU": sweep.gpus_per_worker} if sweep.gpus_per_worker else {})},
    )
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"configuration": configuration, "sweep": asdict(sweep)},
        scaling_config=scaling,
        run_config=ray.train.RunConfig(
            # A fixed name and place: a retried or resumed trial continues from its own last checkpoint.
            name=f"train-{config_hash(Configuration.model_validate_json(configuration))}",
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
        own = [e for e in failures if not distributed.lost_a_peer(e)]
        # When a worker dies the others fail with all sorts of errors; a bug comes again without a death.
        if any(_is_rays(e) for e in failures) or not own:
            raise
        return f"{type(own[0]).__name__}: {own[0]}"
    return None


def _is_rays(error: Exception) -> bool:
    """Whether Ray raised it: a worker, a process or a node is gone. Some of these classes are not public."""
    return type(error).__module__.partition(".")[0] == "ray"


def train_worker(arguments: dict[str, Any]) -> None:
    """The Train function, on every worker: train and evaluate each seed that is not done yet, until told to stop."""
    sweep = Sweep(**{**arguments["sweep"], "seeds": tuple(arguments["sweep"]["seeds"])})
    configuration = Configuration.model_validate_json(arguments["configuration"])
    resume = _load_state()
    for seed in sweep.seeds:
        if read_result(seed_folder(at(sweep.folder), configuration, seed)) is None:
            try:
                _run_seed(sweep, configuration, seed, resume if resume and resume["seed"] == seed else None)
            except Stopped:
                return


def _run_seed(sweep: Sweep, configuration: Configuration, seed: int, resume: State | None) -> None:
    folder = at(sweep.folder)
    leads = distributed.rank() == 0
    stage_a = configuration.stage_a_configuration() if configuration.stages == "AB" else None
    if leads:
        client = tracking.connect(sweep.tracking_uri, folder.parent)[0]
        stage_a_result = read_result(seed_folder(folder, stage_a, seed)) if stage_a else None
        run_id = tracking.child_run(
            client,
            sweep.experiment_id,
            sweep.name,
            sweep.parent_run_id,
            configuration,
            seed,
            stage_a_result.run_id if stage_a_result else None,
        )
        log = tracking.LossLog(client, run_id)

    def keep(state: State) -> None:
        if leads:
            log.flush()  # who goes on from here does not log the steps before it again
        _report_state({**state, "seed": seed})

    try:
        workspace = workspace_of(sweep)
        with fetched(
            checkpoint_folder(folder, stage_a, seed) if stage_a else base_of(workspace, configuration)
        ) as start:
            started = time.perf_counter()
            model = train(
                workspace,
                configuration,
                seed,
                start,
                report=log if leads else lambda step, metrics: None,
                device=get_device(),
                resume=resume,
                checkpoint_every=CHECKPOINT_EVERY_STEPS,
                on_checkpoint=keep,
                chunk=sweep.chunk,
                should_stop=_watch_for_stop(folder) if leads else lambda: False,
            )
            train_s = time.perf_counter() - started
        scores = evaluate(workspace, configuration.data, model, configuration.data.eval_folds)
        retrieval = _retrieval_scores(sweep, model) if leads and configuration.stages != "A" else {}
    except Stopped:
        if leads:
            log.flush()
            client.set_terminated(run_id, "KILLED")
        raise
    except Exception as error:
        if leads and not distributed.lost_a_peer(error):  # a retry goes on with this run
            log.flush()
            tracking.fail(client, run_id, traceback.format_exc())
        raise
    if leads:
        log.flush()
        place = seed_folder(folder, configuration, seed)
        provenance = {
            "configuration": configuration.model_dump(mode="json"),
            "seed": seed,
            "sweep": sweep.name,
        }
        extra = {"train_s": train_s, **tracking.retrieval_metrics(retrieval)}
        with staged(place) as written:
            saved = written / checkpoint_folder(folder, configuration, seed).name
            checkpoint.save(saved, model, provenance)
            tracking.finish(client, run_id, scores, saved, extra)
        settings = configuration.optimiser_a if configuration.stages == "A" else configuration.optimiser_b
        assert settings is not None, "validated by Configuration"
        result = Result(
            config_hash=config_hash(configuration),
            seed=seed,
            scores=scores,
            train_s=train_s,
            steps=settings.steps - (resume["step"] if resume else 0),
            host=socket.gethostname(),
            run_id=run_id,
            retrieval=retrieval,
        )
        write_result(place, result)
    ray.train.report({"seed": seed})  # a barrier: no worker starts the next seed before this one is written


def workspace_of(sweep: Sweep) -> Workspace:
    """The sweep's dataset and cache as this node sees them."""
    cache = node_cache(Path(sweep.cache), at(sweep.origin)) if sweep.origin else Path(sweep.cache)
    if sweep.data is not None:
        return open_workspace(Path(sweep.data), cache, sweep.dataset_digest)
    published = published_dataset(cache, sweep.dataset_digest)
    fetch(published)  # where it stays away, reading the index says what is missing
    return open_workspace(published, cache, sweep.dataset_digest)


def _watch_for_stop(sweep: Place) -> Callable[[], bool]:
    """Whether the sweep was asked to stop; looks at the storage at most once a second."""
    looked = time.monotonic()

    def asked() -> bool:
        nonlocal looked
        if time.monotonic() - looked < STOP_POLL_S:
            return False
        looked = time.monotonic()
        return stop_requested(sweep)

    return asked


def _retrieval_scores(sweep: Sweep, model: ContrastiveModel) -> dict[str, dict[str, Score]]:
    # The driver has refused missing clips, or was told to allow them.
    return {
        name: retrieve(model, find_clips(Path(folder), read_captions(Path(csv))), allow_missing=True).scores
        for name, (folder, csv) in sweep.retrieval.items()
    }


def _report_state(state: State) -> None:
    if distributed.rank() != 0:
        ray.train.report({"step": state["step"]})
        return
    scratch = tempfile.mkdtemp()
    torch.save(state, os.path.join(scratch, STATE_FILE))
    ray.train.report({"step": state["step"]}, checkpoint=ray.train.Checkpoint.from_directory(scratch))
    shutil.rmtree(scratch)


def _load_state() -> State | None:
    stored = ray.train.get_checkpoint()
    if stored is None:
        return None
    with stored.as_directory() as folder:
        state: State = torch.load(os.path.join(folder, STATE_FILE), weights_only=True, map_location="cpu")
        return state
