"""Lanes between two jobs: kept for a minute, and not handed a job after their death."""

from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, GetTimeoutError

from tclap.lanes import kept
from tclap.lanes.kept import KEPT_IDLE_S, KeptLanes, drop_dead


class Lane:
    """A tracked actor, as far as it matters here."""

    def __init__(self, fate: Exception | None = None) -> None:
        self.fate, self.called_back = fate, ["stop", "error"]

    def set_on_stop(self, callback: object) -> None:
        self.called_back.remove("stop")

    def set_on_error(self, callback: object) -> None:
        self.called_back.remove("error")


def controller_of(*lanes: Lane) -> SimpleNamespace:
    cache = KeptLanes()
    for lane in lanes:
        cache.cache_object("key", lane)
    removed: list[Lane] = []
    actors = {
        lane: (SimpleNamespace(get_current_ip_pid=SimpleNamespace(remote=lambda one=lane: one)),) for lane in lanes
    }
    manager = SimpleNamespace(_live_actors_to_ray_actors_resources=actors)
    return SimpleNamespace(_actor_cache=cache, _actor_manager=manager, _remove_actor=removed.append, removed=removed)


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(lane: Lane, timeout: float) -> tuple[str, int]:
        if lane.fate is not None:
            raise lane.fate
        return "here", 1

    monkeypatch.setattr(kept.ray, "get", get)


@pytest.mark.parametrize("fate", [ActorDiedError(), GetTimeoutError()])
def test_a_lane_that_died_while_idle_gets_no_job(fate: Exception) -> None:
    alive, dead = Lane(), Lane(fate)
    controller = controller_of(dead, alive)
    assert drop_dead(controller, "key")
    assert not drop_dead(controller, "key")
    assert controller.removed == [dead]
    assert dead.called_back == []  # nobody is told: no trial is its own
    assert controller._actor_cache.idle("key") == [alive]
    assert controller._actor_cache.pop_cached_object("key") is alive
    assert not controller._actor_cache.has_cached_object("key")


def test_lanes_are_kept_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, lane, now = KeptLanes(), Lane(), [0.0]
    monkeypatch.setattr(kept.time, "monotonic", lambda: now[0])
    cache.cache_object("key", lane)
    now[0] = KEPT_IDLE_S
    assert list(cache.flush_cached_objects()) == []
    now[0] += 1
    assert list(cache.flush_cached_objects()) == [lane]
    assert not cache.has_cached_object("key")
