"""How long a sweep will still take, from the steps that its lanes have taken since they began."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tclap.sweep.job import Job


class Estimate:
    """Counts optimiser steps: those that are left, over the rate at which they were taken since the first job began.

    The rate holds everything that passed meanwhile (evaluation, writing, idle lanes), so that it is honest from the
    first job on; only what came before that job (starting processes, features) is not in it.
    """

    def __init__(self, jobs: Mapping[str, int], now: Callable[[], float]) -> None:
        """jobs: the steps that are left of each job, by its hash; a search adds its own with `started`."""
        self._left, self._now = dict(jobs), now
        self._taken = self._started = self._started_steps = 0
        self._began_at: float | None = None
        self._running: dict[str, int] = {}  # hash -> steps taken of those left

    def started(self, job: Job, steps: int) -> None:
        """`job` begins, with so many steps to take."""
        self._left.setdefault(job.hash, steps)
        self._started, self._started_steps = self._started + 1, self._started_steps + steps
        self._running[job.hash] = 0
        if self._began_at is None:
            self._began_at = self._now()

    def at(self, name: str, steps: int) -> None:
        """A running job has taken so many of its steps."""
        if name in self._running:
            self._running[name] = min(steps, self._left[name])

    def ended(self, job: Job, early: bool = False) -> None:
        """early: without its other steps."""
        taken = self._running.pop(job.hash, 0)
        left = self._left.pop(job.hash, 0)
        self._taken += taken if early else left

    @property
    def jobs_left(self) -> int:
        """How many of the known jobs have not ended."""
        return len(self._left)

    def left_s(self, further_jobs: int = 0) -> float | None:
        """Seconds left, if so many jobs come that are not known yet; None until something is timed."""
        taken = self._taken + sum(self._running.values())
        if self._began_at is None or not taken:
            return None
        rate = taken / max(self._now() - self._began_at, 1e-9)
        further = further_jobs * self._started_steps / max(self._started, 1)
        return (sum(self._left.values()) - sum(self._running.values()) + further) / rate
