"""Ray Tune over a plan's waves: what a sweep script calls."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray import tune
from rich.markup import escape

from tclap.command_line import console
from tclap.config import Configuration, config_hash
from tclap.data.esc50 import digest, read_index
from tclap.data.synth import default_dataset
from tclap.errors import InputError
from tclap.evaluation.caption_files import find_clips, read_captions
from tclap.orchestrate import tracking
from tclap.orchestrate.extract import prepare_shared
from tclap.orchestrate.trial import Sweep, run_trial
from tclap.plan import Plan, describe, label, make_plan, results
from tclap.report.tables import result_frame, write_tables
from tclap.storage import cache_folder, check_writable, claim_name
from tclap.sweep_settings import SweepSettings
from tclap.training.run import check

# Train polls its workers every 2 s by default, which a trial of seconds waits for again and again.
RUNTIME_ENV = {"env_vars": {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}}
# What a trial's own driver process takes. With a whole CPU, drivers and workers would wait for each other for ever.
DRIVER_RESOURCES = {"node:__internal_head__": 0.001}

UNTRAINED = "**The base is untrained** (`--weights random`): these scores mean nothing. "


def run_sweep(settings: SweepSettings, configurations: Sequence[Configuration], table: str) -> int:
    """Run `configurations` and write their table as `table`.csv, .md, .html and .png; 1 where a trial failed.

    Raises InputError before anything expensive where settings and dataset do not fit.
    """
    plan = make_plan(configurations, settings.seeds)
    if settings.dry_run:
        if settings.data is not None and settings.data.exists():
            _check(settings.data, plan)
        elif settings.data is not None:
            console.print(f"note: {settings.data} does not exist yet, so folds and batch sizes are not checked")
        console.print(escape(describe(plan, settings.sweep_folder)))
        return 0
    check_writable(settings.sweep_folder)
    data = settings.data or default_dataset(settings.storage)
    _check(data, plan)
    _check_retrieval(settings)
    dataset_digest = digest(read_index(data))
    claim_name(settings.sweep_folder, {**settings.identity(), "dataset": dataset_digest})
    console.print(escape(describe(plan, settings.sweep_folder)))
    if len(results(plan, settings.sweep_folder)) < _units(plan):
        _run_plan(settings, plan, data, dataset_digest)
    done = results(plan, settings.sweep_folder)
    missing = [(c, s) for wave in plan.waves for c in wave for s in plan.seeds if (config_hash(c), s) not in done]
    frame = result_frame(plan.trials(), done)
    note = UNTRAINED if settings.weights == "random" else ""
    files = write_tables(frame, settings.sweep_folder / table, note) if len(frame) else []
    uri = tracking.tracking_uri(settings.storage)
    client, experiment_id = tracking.connect(uri, settings.storage)
    run_id = tracking.sweep_run(client, experiment_id, settings.name, settings.identity())
    for file in files:
        client.log_artifact(run_id, str(file))
    client.set_terminated(run_id, "FAILED" if missing else "FINISHED")
    if files:
        console.print(escape(files[1].read_text()))
    for configuration, seed in missing:
        console.print(f"not done: {config_hash(configuration)}  {label(configuration)}  seed {seed}", markup=False)
    _say_where(settings, uri, experiment_id, run_id)
    return 1 if missing else 0


def _check(data: Path, plan: Plan) -> None:
    dataset = read_index(data)
    for configuration in plan.trials():
        check(dataset, configuration)


def _check_retrieval(settings: SweepSettings) -> None:
    for name, (folder, csv) in settings.retrieval_sets().items():
        missing = find_clips(folder, read_captions(csv)).missing
        if missing:
            console.print(f"retrieval {name}: {len(missing)} clips missing in {folder}", markup=False)
            if not settings.allow_missing:
                raise InputError(f"{folder} lacks {len(missing)} clips of {csv}; --allow-missing goes on without them")


def _units(plan: Plan) -> int:
    return sum(len(wave) for wave in plan.waves) * len(plan.seeds)


def _run_plan(settings: SweepSettings, plan: Plan, data: Path, dataset_digest: str) -> None:
    storage = settings.storage.resolve()
    uri = tracking.tracking_uri(storage)
    client, experiment_id = tracking.connect(uri, storage)
    parent_id = tracking.sweep_run(client, experiment_id, settings.name, settings.identity())
    sweep = Sweep(
        name=settings.name,
        folder=str(storage / settings.name),
        data=str(data.resolve()),
        dataset_digest=dataset_digest,
        cache=str(cache_folder(storage)),
        seeds=settings.seeds,
        workers=settings.workers,
        gpus_per_worker=settings.gpus_per_worker if settings.use_gpu else 0.0,
        chunk=settings.chunk,
        retrieval={name: (str(folder), str(csv)) for name, (folder, csv) in settings.retrieval_sets().items()},
        tracking_uri=uri,
        experiment_id=experiment_id,
        parent_run_id=parent_id,
    )
    if not ray.is_initialized():
        ray.init(runtime_env=RUNTIME_ENV, logging_level="CRITICAL", log_to_driver=False)
    at_once = _concurrent_trials(sweep)
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # Tune's own boxes, which its verbose=0 does not silence
    started = time.monotonic()
    prepare_shared(sweep.data, sweep.cache, dataset_digest, plan.trials()[0], settings.use_gpu, console)
    console.print(f"base model and features ready in {time.monotonic() - started:.0f} s")
    progress = _Progress(plan, settings.sweep_folder)
    for wave in plan.waves:
        _run_wave(wave, sweep, at_once, progress)


def _run_wave(wave: Sequence[Configuration], sweep: Sweep, at_once: int, progress: _Progress) -> None:
    todo = []
    for configuration in (c for c in wave if not progress.is_done(c)):
        if configuration.stages == "AB" and not progress.is_done(configuration.stage_a_configuration()):
            console.print(f"not run: {label(configuration)}: its stage-A run failed", markup=False, style="red")
        else:
            todo.append(configuration)
    if not todo:
        return
    tuner = tune.Tuner(
        tune.with_resources(functools.partial(run_trial, sweep=sweep), DRIVER_RESOURCES),
        param_space={"configuration": tune.grid_search([c.model_dump_json() for c in todo])},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=at_once,
            reuse_actors=True,  # a trial's driver process costs seconds of imports
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=f"tune-{int(time.time())}",
            storage_path=str(Path(sweep.folder) / "ray"),
            verbose=0,
            callbacks=[progress],
        ),
    )
    for result in tuner.fit():
        if result.error is not None:
            configuration = Configuration.model_validate_json(result.config["configuration"])
            reason = str(result.error).strip().splitlines()[-1]
            console.print(f"FAILED {label(configuration)}: {reason}", markup=False, style="red")


def _trial_name(trial: Any) -> str:
    return config_hash(Configuration.model_validate_json(trial.config["configuration"]))


def _concurrent_trials(sweep: Sweep) -> int:
    there = ray.cluster_resources()
    fits = there.get("CPU", 0) / sweep.workers
    if sweep.gpus_per_worker:
        fits = min(fits, there.get("GPU", 0) / (sweep.workers * sweep.gpus_per_worker))
    if fits < 1:
        need = f"{sweep.workers} CPUs" + (
            f" and {sweep.workers * sweep.gpus_per_worker:g} GPUs" if sweep.gpus_per_worker else ""
        )
        raise InputError(
            f"a trial needs {need}, and the cluster has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs"
        )
    return math.floor(fits)


class _Progress(tune.Callback):
    """A line for each finished run: how many are done and how long is left."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._total = sum(len(wave) for wave in plan.waves)
        self._before = sum(self.is_done(c) for wave in plan.waves for c in wave)
        self._done = self._before
        self._started = time.monotonic()

    def is_done(self, configuration: Configuration) -> bool:
        done = results(Plan(((configuration,),), self._plan.seeds), self._folder)
        return len(done) == len(self._plan.seeds)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._done += 1
        configuration = Configuration.model_validate_json(trial.config["configuration"])
        scores = trial.last_result
        left_s = (time.monotonic() - self._started) / (self._done - self._before) * (self._total - self._done)
        console.print(
            f"[{self._done}/{self._total}] {label(configuration)}  3A {scores['zste/3A']:.1f}  "
            f"3A_order {scores['zste/3A_order']:.1f}  1 {scores['zste/1']:.1f}  about {left_s / 60:.1f} min left",
            markup=False,
        )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._done += 1  # told with its reason when the wave ends


def _say_where(settings: SweepSettings, uri: str, experiment_id: str, run_id: str) -> None:
    console.print(f"table: {settings.sweep_folder}", markup=False)
    if uri.startswith("sqlite"):
        console.print(f"to browse: mlflow ui --backend-store-uri {uri} --port 5000", markup=False)
        page = "http://127.0.0.1:5000"
    else:
        page = settings.mlflow_page or uri
    console.print(f"then open {page}/#/experiments/{experiment_id}/runs/{run_id}", markup=False)
