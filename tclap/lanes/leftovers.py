"""Placement groups whose makers are dead: they reserve CPUs and GPUs that no trial would ever get again.

Ray removes a placement group with the job that made it. But a controller of Ray Train that is starting its workers when
the sweep's process is killed may make one more after Ray has written its job off, and one that is killed itself leaves
its group for as long as the sweep lives. Seen with Ray 2.60: after some 45 random kills the groups of ended jobs held
both CPUs, and the sweep waited for ever. (Ray's own PlacementGroupCleaner knows only groups whose workers have started;
lanes do without it, see `trainer.py`.)
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import ray
from ray import PlacementGroupID, tune
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.state import list_actors, list_jobs, list_placement_groups
from ray.util.state.exception import RayStateApiException

from tclap.console import console

LOOK_EVERY_S = 5.0  # after a loss: a lane that is started anew waits for what the lost one reserved
LIMIT = 10_000  # the most that Ray's state API lists
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


def free_finished_jobs() -> int:
    """Remove what jobs that have ended, with all their actors, still reserve; returns how many groups that were."""
    groups = _list(list_placement_groups, ("state", "!=", "REMOVED"))
    ended = {job.job_id for job in _list(list_jobs) if job.status in ENDED}
    # A detached actor outlives its job, and keeps its groups. Ray's own cleaner of dead controllers does not count.
    living = {a.job_id for a in _list(list_actors, ("state", "!=", "DEAD")) if a.class_name != "PlacementGroupCleaner"}
    return _remove(g.placement_group_id for g in groups if g.creator_job_id in ended - living and not g.is_detached)


def without_actors() -> set[str]:
    """Ids of this job's placement groups that hold CPUs or GPUs for nobody: no actor in them lives or is starting."""
    job = ray.get_runtime_context().get_job_id()
    # One that waits for room has no actors yet.
    groups = _list(list_placement_groups, ("state", "!=", "PENDING"))
    used = {actor.placement_group_id for actor in _list(list_actors, ("job_id", "=", job), ("state", "!=", "DEAD"))}
    return {
        group.placement_group_id
        for group in groups
        if group.creator_job_id == job and group.state != "REMOVED" and not group.is_detached
        if any({"CPU", "GPU"} & bundle["unit_resources"].keys() for bundle in group.bundles)
        if group.placement_group_id not in used
    }


class Leftovers(tune.Callback):
    """Frees what the dead left: looks after the start, after each loss, and on while there is anything."""

    def __init__(self) -> None:
        self._suspects: set[str] = set()
        self._look_at = time.monotonic() + LOOK_EVERY_S

    def look_soon(self) -> None:
        """Something has died."""
        self._look_at = min(self._look_at, time.monotonic() + LOOK_EVERY_S)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.look_soon()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.look_soon()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = math.inf
        try:
            empty = without_actors()
            # A living controller's group is empty for a moment; one that is twice in a row has nobody.
            freed = free_finished_jobs() + _remove(empty & self._suspects)
        except RayStateApiException:
            _tell(None)
            return
        if empty:
            self._look_at = time.monotonic() + LOOK_EVERY_S
        self._suspects = empty
        _tell(freed)


def free_before_start() -> None:
    """Free what ended jobs reserve, and say so; or that it cannot be done, where Ray runs without its dashboard."""
    try:
        _tell(free_finished_jobs())
    except RayStateApiException:
        _tell(None)


def _tell(freed: int | None) -> None:
    if freed is None:
        text = "Ray's dashboard does not answer, so what killed processes reserve cannot be freed"
        console.print(text, style="yellow")
    elif freed:
        console.print(f"freed {freed} placement groups of killed processes", style="yellow")


def _list(what: Callable[..., list[Any]], *filters: tuple[str, str, str]) -> list[Any]:
    # Ray's state API does not ask the cluster that this process uses, but the one that the environment names (which
    # goes before its own argument `address`), or else the latest that was started on this machine.
    os.environ.pop("RAY_API_SERVER_ADDRESS", None)
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    return what(filters=list(filters), limit=LIMIT, detail=True)


def _remove(ids: Iterable[str]) -> int:
    groups = [PlacementGroup(PlacementGroupID(bytes.fromhex(name))) for name in ids]
    for group in groups:
        remove_placement_group(group)
    return len(groups)
