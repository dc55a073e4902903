"""What runs on each worker of a trial: its seeds one after another, each with its own MLflow run."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from mlflow import MlflowClient
from ray.train.torch import get_device

from tclap import distributed
from tclap.cache import fetch, node_cache, published_dataset
from tclap.config import Configuration, config_hash
from tclap.evaluation.captioned import find_clips, read_captions
from tclap.evaluation.retrieval import retrieve
from tclap.evaluation.statistics import Score
from tclap.experiment import Workspace, base_of, evaluate, open_workspace, provenance, train
from tclap.models.protocol import ContrastiveModel
from tclap.places import (
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
from tclap.sweep.plan import steps
from tclap.tracking import runs as tracking
from tclap.training import checkpoint
from tclap.training.stage import State, Stopped

CHECKPOINT_EVERY_STEPS = 50
STATE_FILE = "state.pt"
STOP_POLL_S = 1.0


@dataclass(frozen=True)
class Sweep:
    """What every trial of a sweep needs to know; plain values, since it travels to the workers."""

    name: str
    folder: str  # a path or an s3:// URL
    data: str | None  # None: the dataset that lies at the origin
    dataset_digest: str
    cache: str
    origin: str | None  # with one, `cache` is on each node's own disk (cache.py)
    seeds: tuple[int, ...]
    workers: int
    gpus_per_worker: float  # 0 trains on the CPU
    chunk: int | None
    retrieval: dict[str, tuple[str, str]]  # name -> (audio folder, caption file)
    allow_missing: bool  # of retrieval's clips
    tracking_uri: str
    experiment_id: str
    parent_run_id: str


class CodeError(Exception):
    """What a worker's own code raised, with its traceback, which does not travel with an exception."""

    def __init__(self, reason: str, trace: str, seed: int) -> None:
        super().__init__(reason, trace, seed)  # what it is unpickled from
        self.reason, self.trace, self.seed = reason, trace, seed


def train_worker(arguments: dict[str, Any]) -> None:
    """The Train function, on every worker: train and evaluate each seed that is not done yet, until told to stop."""
    sweep = Sweep(**{**arguments["sweep"], "seeds": tuple(arguments["sweep"]["seeds"])})
    configuration = Configuration.model_validate_json(arguments["configuration"])
    left = [s for s in sweep.seeds if read_result(seed_folder(at(sweep.folder), configuration, s)) is None]
    seed = left[0] if left else sweep.seeds[0]
    try:
        resume = _load_state()
        for seed in left:
            _run_seed(sweep, configuration, seed, resume if resume and resume["seed"] == seed else None)
    except Stopped:
        return
    except Exception as error:
        if is_rays(error) or distributed.lost_a_peer(error) or tracking.is_away(error):
            raise  # to be tried again
        raise CodeError(f"{type(error).__name__}: {error}", traceback.format_exc(), seed) from error


def _run_seed(sweep: Sweep, configuration: Configuration, seed: int, resume: State | None) -> None:
    folder = at(sweep.folder)
    leads = distributed.rank() == 0
    if leads:
        client = tracking.connect(sweep.tracking_uri, folder.parent)[0]
        run_id = mlflow_run(client, sweep, configuration, seed)
        log = tracking.LossLog(client, run_id)

    def keep(state: State) -> None:
        if leads:
            log.flush()  # who goes on from here takes no step before it again
        _report_state({**state, "seed": seed})

    workspace = workspace_of(sweep)
    if configuration.stages == "AB":
        stage_a = configuration.stage_a_configuration()
        start = checkpoint_folder(folder, stage_a, seed)
    else:
        start = base_of(workspace, configuration)
    started = time.perf_counter()
    try:
        with fetched(start) as local:
            model = train(
                workspace,
                configuration,
                seed,
                local,
                report=log if leads else lambda step, metrics: None,
                device=get_device(),
                resume=resume,
                checkpoint_every=CHECKPOINT_EVERY_STEPS,
                on_checkpoint=keep,
                chunk=sweep.chunk,
                should_stop=_watch_for_stop(folder) if leads else lambda: False,
            )
    except Stopped:
        if leads:
            log.flush()
            client.set_terminated(run_id, "KILLED")
        raise
    except Exception as error:
        if leads and not tracking.is_away(error):
            log.flush()  # the losses before it went wrong
        raise
    train_s = time.perf_counter() - started
    scores = evaluate(workspace, configuration.data, model, configuration.data.eval_folds)
    retrieval = _retrieval_scores(sweep, model) if leads and configuration.stages != "A" else {}
    if leads:
        log.flush()
        place = seed_folder(folder, configuration, seed)
        made = {**provenance(workspace, configuration, seed), "sweep": sweep.name}
        extra = {"train_s": train_s, **tracking.retrieval_metrics(retrieval)}
        with staged(place) as written:
            saved = written / checkpoint_folder(folder, configuration, seed).name
            checkpoint.save(saved, model, made)
            tracking.finish(client, run_id, scores, saved, extra)
        result = Result(
            config_hash=config_hash(configuration),
            seed=seed,
            scores=scores,
            train_s=train_s,
            steps=steps(configuration) - (resume["step"] if resume else 0),
            host=socket.gethostname(),
            run_id=run_id,
            retrieval=retrieval,
        )
        write_result(place, result)
    ray.train.report({"seed": seed})  # a barrier: no worker starts the next seed before this one is written


def is_rays(error: Exception) -> bool:
    """Whether Ray raised it: a worker, a process or a node is gone. Some of these classes are not public."""
    return type(error).__module__.partition(".")[0] == "ray"


def mlflow_run(client: MlflowClient, sweep: Sweep, configuration: Configuration, seed: int) -> str:
    """Id of the seed's MLflow run, which is made where it does not exist, and RUNNING."""
    stage_a = None
    if configuration.stages == "AB":
        stage_a = read_result(seed_folder(at(sweep.folder), configuration.stage_a_configuration(), seed))
    return tracking.child_run(
        client,
        sweep.experiment_id,
        sweep.name,
        sweep.parent_run_id,
        configuration,
        seed,
        stage_a.run_id if stage_a else None,
    )


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
    return {
        name: retrieve(model, find_clips(Path(folder), read_captions(Path(csv))), sweep.allow_missing).scores
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
