"""Ray Tune over the jobs of a source: what runs at once, and what is tried again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray import tune

from tclap.lanes.kept import lanes_are_kept
from tclap.lanes.lane import Lane
from tclap.lanes.leftovers import Leftovers
from tclap.lanes.mailbox import ON_HEAD
from tclap.lanes.searcher import SourceSearcher
from tclap.sweep.job import Job
from tclap.sweep.sweep import Sweep

# Only what was lost, or what MLflow did not take, is tried again (an error in the code is an outcome), so this bounds
# what a night of failing nodes, or a job that is killed for its memory each time, may cost.
RETRIES = 20


def run_trials(
    searcher: SourceSearcher,
    sweep: Sweep,
    mailbox: ray.actor.ActorHandle,
    lanes: int,
    callbacks: Sequence[tune.Callback],
) -> None:
    """Run whatever `searcher` suggests on so many lanes, until it says that it is finished. Failures are not raised."""
    number, leftovers = itertools.count(), Leftovers()

    def trial_name(trial: Any) -> str:
        job = Job.from_json(trial.config["job"])
        return f"prepare-{next(number)}" if job.prepares else job.hash

    tuner = tune.Tuner(
        # With a whole CPU for each lane, lanes and workers would wait for each other for ever.
        tune.with_resources(tune.with_parameters(Lane, sweep=sweep, mailbox=mailbox), ON_HEAD),
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
            callbacks=[*callbacks, leftovers],
        ),
    )
    with lanes_are_kept(leftovers.look_soon):
        tuner.fit()
