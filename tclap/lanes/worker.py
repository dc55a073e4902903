"""What runs on each worker of a lane: one job after another, each with its seeds, each seed with its own MLflow run."""

from __future__ import annotations

import functools
import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ray
from ray.train.torch import get_device

from tclap import distributed
from tclap.cache import fetch, node_cache, published_dataset
from tclap.config import Configuration, canonical_hash, with_seed
from tclap.evaluation.captioned import find_clips, read_captions
from tclap.evaluation.details import Details
from tclap.evaluation.retrieval import retrieve
from tclap.evaluation.statistics import Score
from tclap.experiment import Stopped, Workspace, base_of, evaluate, evaluate_closely, open_workspace, provenance, train
from tclap.lanes.extract import make_shared
from tclap.lanes.failures import JobFailed, Lost, of_worker
from tclap.lanes.judge import RungJudge
from tclap.lanes.looks import Looks
from tclap.lanes.mailbox import Report
from tclap.models.protocol import ContrastiveModel
from tclap.places import Place, at, checkpoint_folder, fetched, seed_folder, staged, stop_requested, unless_away
from tclap.sweep.curve import best_metrics
from tclap.sweep.job import DONE, FAILED, STOPPED, Job
from tclap.sweep.ledger import Result, drop_result, read_result, seeds_left, to_json, write_details, write_result
from tclap.sweep.rungs import Rungs
from tclap.sweep.state import DamagedState, drop_state, read_state, write_state
from tclap.sweep.steering import is_paused
from tclap.sweep.sweep import Sweep
from tclap.tracking import runs
from tclap.tracking.beside import RunBeside, open_run
from tclap.training import checkpoint
from tclap.training.stage import State

STATE_EVERY_STEPS = 50
STALE_S = 120.0  # for so long a shared folder may show a worker what it was before; NFS keeps that for a minute
POLL_S = 1.0  # how often the stop file is looked for, and progress told


def work(sweep: Sweep, mailbox: ray.actor.ActorHandle, lane: str) -> None:
    """Do the lane's jobs, on every worker, until there are no more."""
    desk = Desk(sweep, mailbox, lane)
    number = 0
    while (text := ray.get(mailbox.take.remote(lane, number))) is not None:
        number += 1
        report = desk.do(Job.from_json(text))
        if distributed.rank() == 0:
            ray.get(mailbox.report.remote(lane, report))


class Desk:
    """One worker, and what it keeps from job to job: samples, suite and features, and the model's frozen part."""

    def __init__(self, sweep: Sweep, mailbox: ray.actor.ActorHandle, lane: str) -> None:
        self._sweep, self._folder = sweep, at(sweep.folder)
        self._mailbox, self._lane = mailbox, lane
        self._rungs = Rungs(self._folder)
        self._workspace: Workspace | None = None
        self._model: tuple[str, ContrastiveModel] | None = None
        self._seed: int | None = None
        self._told_at = 0.0

    def do(self, job: Job) -> Report:
        """Do one job and report how it ended. Raises what costs the lane its group: see `failures.py`."""
        self._seed = None
        try:
            if job.prepares:
                make_shared(
                    self._open_workspace(), job.configuration, self._sweep.origin, self._stop, self._tell, self._note
                )
                return {"outcome": DONE}
            return self._train(job)
        except Stopped:
            return {"outcome": STOPPED}
        except Exception as error:
            failure = of_worker(error, self._seed, runs.is_away(error))
            if isinstance(failure, Lost) or self._sweep.is_shared:
                raise failure from error
            return self._failed(failure)

    def _failed(self, failure: JobFailed) -> Report:
        # It may have run out of memory, or changed what is kept: the next job starts from what is on disk.
        self._workspace = self._model = None
        return {"outcome": FAILED, "reason": failure.reason, "trace": failure.trace, "seed": failure.seed}

    def _train(self, job: Job) -> Report:
        parent = job.configuration.parent
        if parent is not None:
            missing = [s for s in job.seeds if read_result(seed_folder(self._folder, parent, s)) is None]
            if missing := distributed.from_first(missing):
                reason = f"its stage-A run {job.parent} is not done for seeds {missing}"
                return {"outcome": FAILED, "reason": reason, "trace": reason, "seed": None}
        for number, seed in enumerate(distributed.from_first(seeds_left(job.seeds, self._done(job)))):
            self._seed = seed
            if self._train_seed(job, seed, steps_before=number * job.configuration.optimiser.steps):
                break  # the seed that was stopped early decides for the others
        if distributed.rank() != 0:  # the first worker reports, and storage may not show these its results yet
            return {"outcome": DONE}
        done = self._done(job)
        stopped = [result.stopped_at for result in done if result.stopped_at is not None]
        early = {"stopped_at": stopped[0]} if stopped else {}
        return {"outcome": DONE, **runs.mean_metrics(done), **early, "results": json.dumps([to_json(r) for r in done])}

    def _done(self, job: Job) -> list[Result]:
        """The results of a job that count: what was stopped early goes on if this start does not stop early."""
        results = [read_result(seed_folder(self._folder, job.configuration, seed)) for seed in job.seeds]
        return [r for r in results if r is not None and (r.stopped_at is None or self._sweep.stop_early)]

    def _judge(self, job: Job, seed: int) -> RungJudge | None:
        """Who may stop a seed early: the first one of a job alone is judged, and never stage A, which others need."""
        if not self._sweep.stop_early or job.configuration.stages == "A" or seed != job.seeds[0]:
            return None
        steps = job.configuration.optimiser.steps
        return RungJudge(self._rungs, job.hash, steps, self._sweep.objectives, self._sweep.guards)

    def _train_seed(self, job: Job, seed: int, steps_before: int) -> bool:
        """Train and score a seed; whether it was stopped early."""
        configuration, workspace = job.configuration, self._open_workspace()
        place = seed_folder(self._folder, configuration, seed)
        resume = self._resumed(place)
        if distributed.rank() == 0:
            drop_result(place)  # of one that was stopped early, and goes on
        parent = configuration.parent
        trained = with_seed(configuration, seed)
        start = base_of(workspace, trained) if parent is None else checkpoint_folder(self._folder, parent, seed)
        model = self._model_at(start)
        opened = functools.partial(open_run, self._sweep, configuration, seed)
        with RunBeside(opened, active=distributed.rank() == 0) as run:

            def report(step: int, metrics: dict[str, float]) -> None:
                run.log(step, metrics)
                self._tell(job.hash, steps_before + step + 1)

            def score() -> dict[str, Score]:
                return evaluate(workspace, configuration.data, model, configuration.data.eval_folds)

            looks = Looks(self._sweep.evaluate_every, score, run, resume, self._judge(job, seed))

            def keep(state: State) -> None:
                run.flush()  # whoever goes on from here takes no step before it again
                if distributed.rank() == 0:
                    write_state(place, looks.with_curve(state))

            started = time.perf_counter()
            try:
                ended = train(
                    workspace,
                    trained,
                    model,
                    seed=seed,
                    report=report,
                    resume=resume,
                    keep=keep,
                    keep_every=STATE_EVERY_STEPS,
                    should_stop=self._watch_for_stop(job.hash),
                    look=looks.look,
                    look_at=looks.at,
                    chunk=self._sweep.chunk,
                )
            except Stopped:
                run.killed()
                raise
            train_s = time.perf_counter() - started - looks.spent_s
            scores, details = evaluate_closely(workspace, configuration.data, model, configuration.data.eval_folds)
            steps = configuration.optimiser.steps if ended else max(looks.curve)
            if self._sweep.evaluate_every or self._sweep.stop_early:
                looks.add(steps, scores)
            if distributed.rank() == 0:
                result = Result(
                    config_hash=job.hash,
                    seed=seed,
                    scores=scores,
                    train_s=train_s,
                    steps=steps - (resume["step"] if resume else 0),
                    host=socket.gethostname(),
                    retrieval=self._retrieval(model) if ended and configuration.stages != "A" else {},
                    curve=looks.curve,
                    stopped_at=None if ended else steps,
                )
                self._record(configuration, model, run, result, details, looks.enough)
        distributed.barrier()  # no worker looks at the next seed before this one is written
        return not ended

    def _record(
        self,
        configuration: Configuration,
        model: ContrastiveModel,
        run: RunBeside,
        result: Result,
        details: Details,
        why_stopped: str,
    ) -> None:
        """Save a seed's checkpoint, end its run with that and the scores, and mark it as done, which comes last."""
        place = seed_folder(self._folder, configuration, result.seed)
        made = {**provenance(self._open_workspace(), configuration, result.seed), "sweep": self._sweep.name}
        extra = {"train_s": result.train_s, **runs.retrieval_metrics(result.retrieval), **best_metrics(result.curve)}
        steps = configuration.optimiser.steps if result.stopped_at is None else result.stopped_at
        with staged(place) as written:
            saved = written / checkpoint_folder(self._folder, configuration, result.seed).name
            checkpoint.save(saved, model, made)
            run_id = run.finish(result.scores, saved, extra, steps, details, why_stopped)
        write_details(place, details)
        write_result(place, replace(result, run_id=run_id))
        if result.stopped_at is None:
            drop_state(place)

    def _resumed(self, place: Place) -> State | None:
        """Where the seed goes on: on every worker where the first one does, or they would train on different batches.

        Raises Lost where storage shows this worker another state for too long.
        """
        state = self._state_in(place)
        (first,) = distributed.from_first([_step(state)])
        give_up = time.monotonic() + STALE_S
        while _step(state) != first:
            if time.monotonic() > give_up:
                raise Lost(f"{place} shows this worker the state of step {_step(state)}, the first one step {first}")
            time.sleep(POLL_S)
            state = self._state_in(place)
        return state

    def _state_in(self, place: Place) -> State | None:
        try:
            return read_state(place)
        except DamagedState as error:
            if distributed.rank() == 0:
                self._note(f"{error}: the seed starts from its first step")
            return None

    def _open_workspace(self) -> Workspace:
        """The sweep's dataset and cache as this node sees them."""
        if self._workspace is None:
            self._workspace = workspace_of(self._sweep, self._note)
        return self._workspace

    def _model_at(self, start: Place) -> ContrastiveModel:
        """A model that stands at the checkpoint `start`: the one before, if its frozen part is the same."""
        with fetched(start) as folder:
            described = checkpoint.read_config(folder)
            key = canonical_hash([described["model"], described["fingerprint"]])
            if self._model is not None and self._model[0] == key:
                checkpoint.load_into(self._model[1], folder)
            else:
                self._model = None  # before the next one takes its memory
                model = checkpoint.load(folder)
                model.module().to(get_device())
                self._model = (key, model)
        return self._model[1]

    def _retrieval(self, model: ContrastiveModel) -> dict[str, dict[str, Score]]:
        return {
            name: retrieve(model, find_clips(Path(folder), read_captions(Path(csv))), self._sweep.allow_missing).scores
            for name, (folder, csv) in self._sweep.retrieval.items()
        }

    def _stop(self) -> bool:
        return stop_requested(self._folder)

    def _watch_for_stop(self, job: str) -> Callable[[], bool]:
        """Whether the sweep was asked to stop, or the job of this hash to pause.

        Looks at the storage at most once a second, from the first worker.
        """
        looked = time.monotonic()
        # Training does not need the storage, so it goes on while that is away.
        wanted = unless_away(lambda: self._stop() or is_paused(self._folder, job), False)

        def asked() -> bool:
            nonlocal looked
            if distributed.rank() != 0 or time.monotonic() - looked < POLL_S:
                return False
            looked = time.monotonic()
            return wanted()

        return asked

    def _tell(self, what: str, step: int) -> None:
        """Say how far this lane is, at most once a second: nothing waits for it."""
        if distributed.rank() == 0 and time.monotonic() - self._told_at > POLL_S:
            self._told_at = time.monotonic()
            self._mailbox.say_progress.remote(self._lane, what, step)

    def _note(self, text: str) -> None:
        """A line for the user."""
        self._mailbox.note.remote(text)


def _step(state: State | None) -> int:
    """The step that a seed goes on from; -1 where it starts."""
    return -1 if state is None else int(state["step"])


def workspace_of(sweep: Sweep, say: Callable[[str], None]) -> Workspace:
    """The sweep's dataset and cache as this node sees them; `say` is told where features lie on a GPU."""
    cache = node_cache(Path(sweep.cache), at(sweep.origin)) if sweep.origin else Path(sweep.cache)
    if sweep.data is not None:
        return open_workspace(Path(sweep.data), cache, sweep.dataset_digest, say)
    published = published_dataset(cache, sweep.dataset_digest)
    fetch(published)  # if it stays away, reading the index says what is missing
    return open_workspace(published, cache, sweep.dataset_digest, say)
