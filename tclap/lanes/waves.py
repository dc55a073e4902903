"""Ray Tune over some trials: how many at once, what is tried again, and a line for each that ends."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from tclap.config import Configuration, config_hash
from tclap.console import console
from tclap.errors import InputError
from tclap.lanes.leftovers import Leftovers
from tclap.lanes.trial import DONE, FAILED, STOPPED, run_trial
from tclap.lanes.worker import Sweep
from tclap.sweep.plan import label

# What a trial's own driver process takes. With a whole CPU, drivers and workers would wait for each other for ever.
DRIVER_RESOURCES = {"node:__internal_head__": 0.001}
# Only what was lost, or what MLflow did not take, is tried again (an error in the code is an outcome), so this bounds
# what a night of failing nodes, or a trial that is killed for its memory each time, may cost.
RETRIES = 20


def run_wave(configurations: Sequence[Configuration], sweep: Sweep, at_once: int, progress: Progress) -> None:
    """Run these configurations, each as one trial. Failures are printed, not raised."""
    if configurations:
        points = tune.grid_search([c.model_dump_json() for c in configurations])
        _tune(sweep, progress, {"configuration": points}, at_once)


def run_searcher(searcher: Searcher, sweep: Sweep, at_once: int, progress: Progress) -> None:
    """Run whatever `searcher` suggests, until it says that it is finished."""
    # Without limit: the searcher counts what ran before this start, too.
    _tune(sweep, progress, {}, at_once, search_alg=searcher, num_samples=-1)


def _tune(sweep: Sweep, progress: Progress, space: dict[str, Any], at_once: int, **tune_config: Any) -> None:
    tune.Tuner(
        tune.with_resources(functools.partial(run_trial, sweep=sweep), DRIVER_RESOURCES),
        param_space=space,
        tune_config=tune.TuneConfig(
            max_concurrent_trials=at_once,
            reuse_actors=True,  # a trial's driver process costs seconds of imports
            trial_dirname_creator=_trial_name,
            **tune_config,
        ),
        run_config=tune.RunConfig(
            # A new name for each start: what is done is known from the sweep's folder and the study, which are written
            # trial by trial, and not from Tune's own snapshots, which lag behind.
            name=f"tune-{int(time.time())}",
            storage_path=f"{sweep.folder}/ray",
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            verbose=0,
            callbacks=[progress, Leftovers()],
        ),
    ).fit()


def _trial_name(trial: Any) -> str:
    return config_hash(Configuration.model_validate_json(trial.config["configuration"]))


def concurrent_trials(sweep: Sweep) -> int:
    """How many trials the cluster has room for. Raises InputError where it has none for a single one."""
    there = ray.cluster_resources()
    fits = there.get("CPU", 0) / sweep.workers
    if sweep.gpus_per_worker:
        fits = min(fits, there.get("GPU", 0) / (sweep.workers * sweep.gpus_per_worker))
    if fits < 1:
        need = f"{sweep.workers} CPUs" + (
            f" and {sweep.workers * sweep.gpus_per_worker:g} GPUs" if sweep.gpus_per_worker else ""
        )
        raise InputError(
            f"a trial needs {need}, and the cluster has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs; "
            "on a cluster that grows when asked, say how many trials to ask for: --concurrent-trials"
        )
    return math.floor(fits)


class Progress(tune.Callback):
    """A line for each trial that ends: how many are done and how long is left."""

    def __init__(self, total: int, before: int, is_done: Callable[[Configuration], bool]) -> None:
        """`total` trials, `before` of which were done at the start; `is_done` looks at the sweep's folder."""
        self._total, self._before, self._ended = total, before, before
        self.is_done = is_done
        self._started = time.monotonic()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result
        name = label(Configuration.model_validate_json(trial.config["configuration"]))
        if result["outcome"] == STOPPED:
            return
        self._ended += 1
        if result["outcome"] == FAILED:
            console.print(f"FAILED {name}: {result['reason']}", markup=False, style="red")
        elif result["outcome"] == DONE:
            left_s = (time.monotonic() - self._started) / (self._ended - self._before) * (self._total - self._ended)
            console.print(
                f"[{self._ended}/{self._total}] {name}  3A {result['zste/3A']:.1f}  "
                f"3A_order {result['zste/3A_order']:.1f}  1 {result['zste/1']:.1f}  about {left_s / 60:.1f} min left",
                markup=False,
            )

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = label(Configuration.model_validate_json(trial.config["configuration"]))
        console.print(f"lost, and tried again from its last checkpoint: {name}", markup=False, style="yellow")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ended += 1
        name = label(Configuration.model_validate_json(trial.config["configuration"]))
        console.print(f"FAILED {name}: lost {RETRIES + 1} times: {trial.error_file}", markup=False, style="red")
