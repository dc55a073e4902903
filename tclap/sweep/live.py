"""The jobs of a sweep while its driver runs, in a file of the sweep's folder, for whoever looks from outside."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from tclap.places import Place, does_not_answer, write_atomically
from tclap.sweep.job import Job

LIVE = "live.json"
DRIVER_LOCK = "driver.lock"  # in the sweep's folder, or with object storage in the cache
WAITING, RUNNING, ENDED = "waiting", "running", "ended"  # besides DONE, FAILED and STOPPED of job.py
WRITE_EVERY_S, BEAT_S = 2.0, 10.0
SHARE = 0.05  # of the time that writing may take, while thousands of jobs make it long
SILENT_S = 60.0  # after so long without a word a driver is taken for dead


@dataclass(frozen=True)
class JobState:
    """One job: `step` of the `steps` that were left of its seeds when it began."""

    hash: str
    label: str
    stages: str
    seeds: tuple[int, ...]
    steps: int
    state: str = WAITING
    step: int = 0
    reason: str = ""  # why it failed


@dataclass(frozen=True)
class Snapshot:
    """What a driver wrote last."""

    jobs: tuple[JobState, ...]
    status: str  # "5 of 9 jobs done, ..."
    written_at: float  # seconds since 1970
    ended: bool

    def runs(self, now: float) -> bool:
        """Whether the driver seems to be alive."""
        return not self.ended and now - self.written_at < SILENT_S


def is_held(sweep: Place) -> bool:
    """Whether a driver holds the sweep's lock, though it may be silent, as while it waits for MLflow."""
    if not isinstance(sweep, Path) or not os.access(sweep / DRIVER_LOCK, os.W_OK):  # none, or not ours to try
        return False
    try:
        with FileLock(sweep / DRIVER_LOCK, timeout=0):
            return False
    except Timeout:
        return True


class Live:
    """Collects what happens to jobs and writes it now and then; hashes that it does not know are ignored."""

    def __init__(self, sweep: Place, now: Callable[[], float] = time.time) -> None:
        self._file, self._now = sweep / LIVE, now
        self._jobs: dict[str, JobState] = {}
        self._changed = True
        self._next_at = self._beat_at = 0.0

    def tell(self, job: Job, label: str, state: str, steps: int, reason: str = "") -> None:
        """A job is in this state now, with so many optimiser steps left."""
        stages = job.configuration.stages
        self._jobs[job.hash] = JobState(job.hash, label, stages, job.seeds, steps, state, reason=reason)
        self._changed = True

    def at(self, name: str, step: int) -> None:
        """A running job has taken so many steps."""
        job = self._jobs.get(name)
        if job is not None and job.step != step:
            self._jobs[name] = replace(job, step=step)
            self._changed = True

    def write(self, status: str, ended: bool = False) -> None:
        """Write, unless that was done just now, nothing is new and the last word is fresh, or the storage is away."""
        now = self._now()
        if not ended and (now < self._next_at or not (self._changed or now > self._beat_at)):
            return
        jobs = [asdict(job) for job in self._jobs.values()]
        said = json.dumps({"jobs": jobs, "status": status, "written_at": now, "ended": ended})
        try:
            write_atomically(self._file, said)
        except Exception as error:
            if not does_not_answer(error):
                raise
            self._next_at = now + BEAT_S
            return
        self._changed = False
        self._next_at = now + max(WRITE_EVERY_S, (self._now() - now) / SHARE)
        self._beat_at = max(self._next_at, now + BEAT_S)


def read_live(sweep: Place) -> Snapshot | None:
    """What the driver of a sweep wrote last; None if it never did, or what it wrote is not of this version."""
    try:
        found = json.loads((sweep / LIVE).read_text(encoding="utf-8"))
        jobs = tuple(JobState(**{**job, "seeds": tuple(job["seeds"])}) for job in found["jobs"])
        return Snapshot(jobs, str(found["status"]), float(found["written_at"]), bool(found["ended"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
