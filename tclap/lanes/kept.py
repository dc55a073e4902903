"""Which lanes Tune keeps between two trials, and that a lane which died while it was idle gets no job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.tune.execution import tune_controller
from ray.tune.utils.object_cache import _ObjectCache

KEPT_IDLE_S = 60.0
ANSWERS_S = 10.0  # an idle lane answers at once


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

    def idle(self, key: Any) -> list[Any]:
        return list(self._cached_objects[key])

    def forget(self, key: Any, obj: Any) -> None:
        self._cached_objects[key].remove(obj)
        self._num_cached_objects -= 1


@contextmanager
def lanes_are_kept(lost: Callable[[], None]) -> Iterator[None]:
    """Have Tune keep lanes as `KeptLanes` does, and look before it hands one a job: neither is an argument of its.

    lost: called when a lane has died while it was idle, which Tune tells no callback.
    """
    controller = tune_controller.TuneController
    reuse = controller._maybe_reuse_cached_actor

    def reuse_living(self: Any, trial: Any) -> bool:
        if drop_dead(self, trial.placement_group_factory):
            lost()
        return bool(reuse(self, trial))

    tune_controller._ObjectCache = KeptLanes
    controller._maybe_reuse_cached_actor = reuse_living
    try:
        yield
    finally:
        tune_controller._ObjectCache = _ObjectCache
        controller._maybe_reuse_cached_actor = reuse


def drop_dead(controller: Any, key: Any) -> bool:
    """Forget the idle lanes that no longer live; returns whether there were any.

    Tune notices a dead actor only by the job that it hands to it, is then told twice, by the actor and by its task,
    and at the second time gives the trial up, however many retries it has left.
    """
    found = False
    for lane in controller._actor_cache.idle(key):
        actor, *_ = controller._actor_manager._live_actors_to_ray_actors_resources[lane]
        if not lives(actor):
            controller._actor_cache.forget(key, lane)
            lane.set_on_stop(None)  # as Tune does for the actors that it ends while they are idle
            lane.set_on_error(None)
            controller._remove_actor(lane)
            found = True
    return found


def lives(actor: Any) -> bool:
    """Whether a lane answers."""
    try:
        ray.get(actor.get_current_ip_pid.remote(), timeout=ANSWERS_S)
    except (RayActorError, GetTimeoutError):
        return False
    return True
