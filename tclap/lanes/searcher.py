"""Ray Tune's view of a source of jobs: first what they share is made, then one trial for each job."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from tclap.config import Configuration
from tclap.errors import InputError
from tclap.sweep.job import DONE, FAILED, STOPPED, Job
from tclap.sweep.ledger import Ledger, from_json
from tclap.sweep.sources import WAIT, JobSource
from tclap.sweep.steering import EVERYTHING


class SourceSearcher(Searcher):
    """Suggests {"job": JSON} for the jobs of `source`, once the preparations have ended, and tells it how they ended.

    shared: a configuration for each base model and set of features that the jobs need. lanes: how many may take part.
    """

    def __init__(
        self,
        source: JobSource,
        shared: Sequence[Configuration],
        lanes: int,
        ledger: Ledger,
        stopped: Callable[[], bool],
        is_paused: Callable[[str], bool],
        prepared: Callable[[], None],
    ) -> None:
        super().__init__()
        self._source, self._ledger, self._stopped, self._prepared = source, ledger, stopped, prepared
        self._is_paused = is_paused
        self._put_down: list[Job] = []  # paused, before or after they began
        parts = [c for c in shared for _ in range(max(1, lanes // len(shared)))]
        self._preparations = deque(Job(configuration, (), prepares=True) for configuration in parts)
        self._preparing = len(self._preparations)  # that have not ended
        self.preparation_failed: Exception | None = None
        # While nothing runs, Tune asks here once a second and calls no callback.
        self.on_wait: Callable[[], None] = lambda: None
        self._jobs: dict[str, Job] = {}  # Tune's trial id -> job

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._stopped() or self.preparation_failed:
            return Searcher.FINISHED
        job = self._next()
        if job is None:
            return Searcher.FINISHED
        if job == WAIT:
            self.on_wait()
            return None  # Tune asks again
        assert isinstance(job, Job)
        self._jobs[trial_id] = job
        return {"job": job.to_json()}

    def _next(self) -> Job | str | None:
        if self._preparations:
            return self._preparations.popleft()
        if self._preparing or self._is_paused(EVERYTHING):
            return WAIT
        for waiting in self._put_down:
            if not self._is_paused(waiting.hash):
                self._put_down.remove(waiting)
                return waiting
        job = self._source.next()
        if isinstance(job, Job) and self._is_paused(job.hash):
            self._put_down.append(job)
            return WAIT
        if job is None and self._jobs:
            return WAIT  # what runs may be paused, and what is paused may be resumed
        # What is left waits for what is paused: the next start goes on with it.
        return None if job == WAIT and self._put_down and not self._jobs else job

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: a trial reports once, at its end."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self._jobs.pop(trial_id)
        outcome = FAILED if error or result is None else result["outcome"]
        if job.prepares:
            self._preparation_ended(outcome, result)
        elif outcome == DONE:
            assert result is not None
            for text in json.loads(result["results"]):
                self._ledger.add(from_json(text))
            self._source.ended(job, result)
        else:
            self._ledger.look_again(job.configuration, job.seeds)
            if outcome == STOPPED:  # it goes on when it is no longer paused, or after the next start
                self._put_down.append(job)
            else:
                self._source.ended(job, None)

    def _preparation_ended(self, outcome: str, result: dict[str, Any] | None) -> None:
        self._preparing -= 1
        if outcome == FAILED:
            reason = "its processes were lost again and again" if result is None else str(result.get("reason"))
            kind, _, text = reason.partition(": ")
            self.preparation_failed = InputError(text) if kind == InputError.__name__ else RuntimeError(reason)
        elif outcome == DONE and not self._preparing:
            self._prepared()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune stores its searcher in a snapshot that nobody reads

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what is done lies in the ledger and the study, job by job."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a sweep is resumed from its ledger and study, not from Tune's snapshots")
