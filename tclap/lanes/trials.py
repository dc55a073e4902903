"""Ray Tune over the jobs of a source: what runs at once, what is tried again, and which lanes are kept."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune
from ray.tune.execution import tune_controller
from ray.tune.utils.object_cache import _ObjectCache

from tclap.lanes.lane import LANE_RESOURCES, Lane
from tclap.lanes.searcher import SourceSearcher
from tclap.sweep.job import Job
from tclap.sweep.sweep import Sweep

# Only what was lost, or what MLflow did not take, is tried again (an error in the code is an outcome), so this bounds
# what a night of failing nodes, or a job that is killed for its memory each time, may cost.
RETRIES = 20
KEPT_IDLE_S = 60.0


class KeptLanes(_ObjectCache):
    """Tune's store of actors between two trials, which keeps each lane for a minute.

    Tune's own keeps one idle actor at most and ends the others, and a lane takes seconds to start. A minute, and not
    for ever: an idle lane holds its CPUs, which the job of another lane may be waiting for after a node was lost.
    """

    def __init__(self, may_keep_one: bool = True) -> None:
        super().__init__(may_keep_one)
        self._idle_since: dict[int, float] = {}

    def cache_object(self, key: Any, obj: Any) -> bool:
        self._idle_since[id(obj)] = time.monotonic()
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Iterator[Any]:
        now = time.monotonic()
        for objects in self._cached_objects.values():
            for one in list(objects):
                if force_all or now - self._idle_since[id(one)] > KEPT_IDLE_S:
                    objects.remove(one)
                    self._num_cached_objects -= 1
                    yield one


def run_trials(
    searcher: SourceSearcher,
    sweep: Sweep,
    mailbox: ray.actor.ActorHandle,
    lanes: int,
    callbacks: Sequence[tune.Callback],
) -> None:
    """Run whatever `searcher` suggests on so many lanes, until it says that it is finished. Failures are not raised."""
    number = itertools.count()

    def trial_name(trial: Any) -> str:
        job = Job.from_json(trial.config["job"])
        return f"prepare-{next(number)}" if job.prepares else job.hash

    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(Lane, sweep=sweep, mailbox=mailbox), LANE_RESOURCES),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,  # the searcher says when it is finished
            max_concurrent_trials=lanes,
            reuse_actors=True,
            trial_dirname_creator=trial_name,
        ),
        run_config=tune.RunConfig(
            # A new name for each start: what is done is known from the ledger and the study, which are written job by
            # job, and not from Tune's own snapshots, which lag behind.
            name=f"tune-{int(time.time())}",
            storage_path=f"{sweep.folder}/ray",
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # a job keeps its own state
            verbose=0,
            callbacks=list(callbacks),
        ),
    )
    with _lanes_are_kept():
        tuner.fit()


@contextmanager
def _lanes_are_kept() -> Iterator[None]:
    """Tune takes no such class as an argument."""
    tune_controller._ObjectCache = KeptLanes
    try:
        yield
    finally:
        tune_controller._ObjectCache = _ObjectCache
