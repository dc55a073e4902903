"""One configuration on one Ray Train worker group: its seeds one after another, each with its own MLflow run."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import traceback
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
from tclap.models.base import ContrastiveModel
from tclap.orchestrate import tracking
from tclap.storage import (
    Result,
    checkpoint_folder,
    read_result,
    seed_folder,
    write_result,
)
from tclap.training import checkpoint, distributed
from tclap.training.loop import State
from tclap.training.run import base_of, evaluate, open_workspace, train

CHECKPOINT_EVERY_STEPS = 50
STATE_FILE = "state.pt"


@dataclass(frozen=True)
class Sweep:
    """What every trial of a sweep needs to know; plain values, since it travels to the workers."""

    name: str
    folder: str
    data: str
    dataset_digest: str
    cache: str
    seeds: tuple[int, ...]
    workers: int
    gpus_per_worker: float  # 0 trains on the CPU
    chunk: int | None
    retrieval: dict[str, tuple[str, str]]  # name -> (audio folder, caption file)
    tracking_uri: str
    experiment_id: str
    parent_run_id: str


def run_trial(point: dict[str, Any], sweep: Sweep) -> None:
    """The Tune function: drives one worker group and reports each metric's mean over seeds, once."""
    configuration = Configuration.model_validate_json(point["configuration"])
    scaling = ray.train.ScalingConfig(
        num_workers=sweep.workers,
        use_gpu=sweep.gpus_per_worker > 0,
        resources_per_worker={"CPU": 1, **({"GPU": sweep.gpus_per_worker} if sweep.gpus_per_worker else {})},
    )
    TorchTrainer(
        train_worker,
        train_loop_config={"configuration": point["configuration"], "sweep": asdict(sweep)},
        scaling_config=scaling,
        run_config=ray.train.RunConfig(
            # A fixed name and place: a retried or restored trial continues from its own last checkpoint.
            name=f"train-{config_hash(configuration)}",
            storage_path=str(Path(sweep.folder) / "ray"),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        ),
    ).fit()
    done = [read_result(seed_folder(Path(sweep.folder), configuration, seed)) for seed in sweep.seeds]
    metrics = [tracking.score_metrics(result.scores) for result in done if result is not None]
    if len(metrics) != len(sweep.seeds):
        raise RuntimeError(f"{config_hash(configuration)}: the worker group ended without all seeds done")
    tune.report({key: sum(m[key] for m in metrics) / len(metrics) for key in metrics[0]})


def train_worker(arguments: dict[str, Any]) -> None:
    """The Train function, on every worker: train and evaluate each seed that is not done yet."""
    sweep = Sweep(**{**arguments["sweep"], "seeds": tuple(arguments["sweep"]["seeds"])})
    configuration = Configuration.model_validate_json(arguments["configuration"])
    resume = _load_state()
    for seed in sweep.seeds:
        if read_result(seed_folder(Path(sweep.folder), configuration, seed)) is None:
            _run_seed(sweep, configuration, seed, resume if resume and resume["seed"] == seed else None)


def _run_seed(sweep: Sweep, configuration: Configuration, seed: int, resume: State | None) -> None:
    folder = Path(sweep.folder)
    workspace = open_workspace(Path(sweep.data), Path(sweep.cache), sweep.dataset_digest)
    leads = distributed.rank() == 0
    stage_a = configuration.stage_a_configuration() if configuration.stages == "AB" else None
    start = checkpoint_folder(folder, stage_a, seed) if stage_a else base_of(workspace, configuration)
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
    started = time.perf_counter()
    try:
        model = train(
            workspace,
            configuration,
            seed,
            start,
            report=log if leads else lambda step, metrics: None,
            device=get_device(),
            resume=resume,
            checkpoint_every=CHECKPOINT_EVERY_STEPS,
            on_checkpoint=lambda state: _report_state({**state, "seed": seed}),
            chunk=sweep.chunk,
        )
        train_s = time.perf_counter() - started
        scores = evaluate(workspace, configuration.data, model, configuration.data.eval_folds)
        retrieval = _retrieval_scores(sweep, model) if leads and configuration.stages != "A" else {}
    except Exception:
        if leads:
            log.flush()
            tracking.fail(client, run_id, traceback.format_exc())
        raise
    if leads:
        log.flush()
        place = checkpoint_folder(folder, configuration, seed)
        provenance = {
            "configuration": configuration.model_dump(mode="json"),
            "seed": seed,
            "sweep": sweep.name,
        }
        checkpoint.save(place, model, provenance)
        extra = {"train_s": train_s, **tracking.retrieval_metrics(retrieval)}
        tracking.finish(client, run_id, scores, place, extra)
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
        write_result(place.parent, result)
    ray.train.report({"seed": seed})  # a barrier: no worker starts the next seed before this one is written


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
