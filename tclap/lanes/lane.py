"""A lane: a Ray Tune trial actor that is kept from trial to trial, with a worker group that does one job after another.

A trial is a job. Tune hands it to a free lane, `step()` passes it to the workers and returns what they report. A lane
holds nothing that a kill could lose: a job's state lies in the job's own folder, from which any lane takes it up.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import ray
from ray import tune

from tclap.lanes.failures import JobFailed, Lost
from tclap.lanes.group import Group
from tclap.sweep.job import FAILED, Job
from tclap.sweep.sweep import Sweep

log = logging.getLogger(__name__)


class Lane(tune.Trainable):
    """Runs one job for each trial, and keeps its workers between them."""

    def setup(self, config: dict[str, Any], sweep: Sweep, mailbox: ray.actor.ActorHandle) -> None:
        self._sweep, self._mailbox = sweep, mailbox
        self._group = Group(sweep, mailbox)
        self._job = str(config["job"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up the next trial's job; a group that has ended is started anew."""
        if not self._group.is_alive:
            self._replace_group()
        self._job = str(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        """Do the job and return how it ended. Raises Lost, or what Ray raises, if Tune shall try it again."""
        self._group.hand(self._job)
        try:
            report = self._group.next_report()
        except JobFailed as failed:
            # The workers of a shared group end with their job; the next ones start while this one is told of.
            self._replace_group()
            report = {"outcome": FAILED, "reason": failed.reason, "trace": failed.trace, "seed": failed.seed}
        if report["outcome"] == FAILED:
            self._leave_traceback(report.pop("trace"), report.pop("seed"))
        return {**report, "done": True}

    def _replace_group(self) -> None:
        self._group.end()  # else its bar stays on the screen, and its queues in the mailbox
        self._group = Group(self._sweep, self._mailbox)

    def _leave_traceback(self, trace: str, seed: int | None) -> None:
        """Fail the seed's MLflow run with the traceback, whichever worker it came from."""
        job = Job.from_json(self._job)
        if job.prepares or seed is None:  # it belongs to no run
            return
        from tclap.tracking import beside, runs  # slow to import, and only needed here

        try:
            beside.leave_traceback(self._sweep, job.configuration, seed, trace)
        except Exception as refused:
            if runs.is_away(refused):
                raise Lost(str(refused)) from refused
            # It may be what failed the job: raised, it would be tried again and again.
            log.error("the traceback cannot be left in MLflow (%s):\n%s", refused, trace)

    def cleanup(self) -> None:
        with contextlib.suppress(ray.exceptions.RayError):  # the mailbox may be gone, and Ray then ends the workers
            self._group.end()
