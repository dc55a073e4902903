"""Where the next job comes from: a fixed list, or Optuna's study. A job is ready when its parent is done.

A source answers `next()` with a Job, with WAIT (nothing is ready yet) or with None (there is nothing more), and is told
by `ended` how each job ended. It knows neither Ray nor MLflow.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any, Final, Literal, Protocol

from tclap.sweep.job import Job
from tclap.sweep.ledger import Ledger

WAIT: Final = "wait"


class JobSource(Protocol):
    """Hands out the jobs of one start."""

    def next(self) -> Job | Literal["wait"] | None: ...

    def ended(self, job: Job, metrics: dict[str, Any] | None) -> None:
        """metrics: by their MLflow names, each the mean over seeds; None if the job failed or was stopped."""
        ...


class ListSource:
    """The jobs of a plan that are not done; one whose parent has failed is handed out, too, and says so."""

    def __init__(self, jobs: Iterable[Job], ledger: Ledger) -> None:
        self._ready: deque[Job] = deque()
        self._children: defaultdict[str, list[Job]] = defaultdict(list)
        left = [job for job in jobs if not ledger.is_done(job.configuration, job.seeds)]
        undone = {job.hash for job in left}
        for job in left:
            if job.parent in undone:
                self._children[job.parent].append(job)
            else:
                self._ready.append(job)

    def next(self) -> Job | Literal["wait"] | None:
        if self._ready:
            return self._ready.popleft()
        return WAIT if self._children else None

    def ended(self, job: Job, metrics: dict[str, Any] | None) -> None:
        self._ready.extend(self._children.pop(job.hash, []))
