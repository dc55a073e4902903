"""The mailbox: passes jobs to the workers of every lane, and back what they report; one light actor for all lanes.

It holds nothing that a kill could lose. If it dies, every call to it fails, so every lane is lost, and Tune tries their
jobs again in fresh lanes, through the mailbox that Ray has started in its place.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import ray

Report = dict[str, Any]
# Ray puts an actor without resources on any node, and every lane would be lost with that one.
ON_HEAD = {"node:__internal_head__": 0.001}


class Mailbox:
    """A queue of jobs to each lane's workers, a queue of reports back, and each lane's last word on its progress."""

    def __init__(self) -> None:
        self._jobs: defaultdict[str, list[str | None]] = defaultdict(list)
        self._news: defaultdict[str, asyncio.Condition] = defaultdict(asyncio.Condition)
        self._reports: defaultdict[str, asyncio.Queue[Report]] = defaultdict(asyncio.Queue)
        self._progress: dict[str, tuple[str, int]] = {}
        self._notes: list[str] = []

    async def put(self, lane: str, job: str | None) -> None:
        """Hand a job (or None: there are no more) to the workers of `lane`."""
        async with self._news[lane]:
            self._jobs[lane].append(job)
            self._news[lane].notify_all()

    async def take(self, lane: str, number: int) -> str | None:
        """The job that is number `number` of its lane; waits for it. Every worker of the lane takes each job."""
        async with self._news[lane]:
            await self._news[lane].wait_for(lambda: len(self._jobs[lane]) > number)
            return self._jobs[lane][number]

    async def report(self, lane: str, report: Report) -> None:
        await self._reports[lane].put(report)

    async def next_report(self, lane: str, timeout_s: float) -> Report | None:
        """What the lane's workers reported next, or None if nothing comes in that time."""
        try:
            return await asyncio.wait_for(self._reports[lane].get(), timeout_s)
        except asyncio.TimeoutError:
            return None

    async def say_progress(self, lane: str, job: str, step: int) -> None:
        """What the lane is at: a job's hash and the steps it has taken."""
        self._progress[lane] = (job, step)

    async def note(self, text: str) -> None:
        """A line for whoever watches the sweep."""
        self._notes.append(text)

    async def news(self) -> tuple[dict[str, tuple[str, int]], list[str]]:
        """Each lane's progress, and the notes since the last call."""
        notes, self._notes = self._notes, []
        return dict(self._progress), notes

    async def forget(self, lane: str) -> None:
        """Drop what belongs to a lane's workers that are gone."""
        for held in (self._jobs, self._reports, self._progress, self._news):
            held.pop(lane, None)


def open_mailbox() -> ray.actor.ActorHandle:
    """Start the sweep's mailbox; it ends with this process. Ray starts it again if it dies."""
    actor = ray.remote(Mailbox).options(
        num_cpus=0, resources=ON_HEAD, max_restarts=-1, max_concurrency=1000, scheduling_strategy="DEFAULT"
    )
    handle: ray.actor.ActorHandle = actor.remote()
    return handle
