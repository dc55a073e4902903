"""What a lane asks of Ray Train for its workers; Ray is not started."""

from types import SimpleNamespace

import pytest
import ray
from ray.train import WorkerGroupError
from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision

from tclap.lanes import group as groups
from tclap.lanes.group import Group


@pytest.fixture
def asked(monkeypatch):
    """What `LaneTrainer` was given for one worker group."""
    given = {}

    def trainer(work, **settings):
        given.update(settings)
        return SimpleNamespace(fit=lambda: None)

    monkeypatch.setattr(groups, "LaneTrainer", trainer)
    sweep = groups.Sweep("s", "folder", None, "", "", None, 2, 0.0, None, {}, False, "", "", "")
    Group(sweep, mailbox=None)._thread.join()
    return given


def preempted():
    died = ray.exceptions.ActorDiedError()
    died._preempted = True
    assert died.preempted
    return died


@pytest.mark.parametrize("error", [ray.exceptions.ActorDiedError(), preempted(), ValueError("a bug")])
def test_train_does_not_start_a_group_again_which_would_take_its_first_job_once_more(asked, error):
    policy = DefaultFailurePolicy(asked["run_config"].failure_config)
    assert policy.make_decision(WorkerGroupError("a worker failed", {0: error})) == FailureDecision.RAISE


def test_workers_wait_longer_for_one_that_works_alone_than_the_half_hour_of_ray(asked):
    assert asked["torch_config"].timeout_s == groups.PEERS_WAIT_S > 1800
