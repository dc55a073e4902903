"""A lane with a stand-in for its workers: what it reports of a job, and when it starts them anew."""

import pytest
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError as NoConnection

from tclap.lanes import lane as lanes
from tclap.lanes.failures import JobFailed, Lost
from tclap.lanes.lane import Lane
from tclap.sweep.job import Job
from tclap.tracking import beside
from tests.tracking.conftest import configuration

JOB = Job(configuration(3), (0,)).to_json()
OTHER = Job(configuration(4), (0,)).to_json()


class Workers:
    """Answers each job with the next of `answers`: a report, or an error that ends the group."""

    answers: list = []  # noqa: RUF012
    started: list = []  # noqa: RUF012

    def __init__(self, sweep, mailbox):
        self.is_alive, self.is_forgotten, self.jobs = True, False, []
        self.started.append(self)

    def hand(self, job):
        self.jobs.append(job)

    def next_report(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            self.is_alive = False
            raise answer
        return answer

    def end(self):
        self.is_alive, self.is_forgotten = False, True


@pytest.fixture
def lane(monkeypatch):
    monkeypatch.setattr(Workers, "answers", [])
    monkeypatch.setattr(Workers, "started", [])
    monkeypatch.setattr(lanes, "Group", Workers)
    one = Lane.__new__(Lane)
    one.setup({"job": JOB}, sweep=None, mailbox=None)
    return one


@pytest.fixture
def traces(monkeypatch):
    left = []
    monkeypatch.setattr(beside, "leave_traceback", lambda sweep, c, seed, trace: left.append((c, seed, trace)))
    return left


def test_jobs_go_to_the_same_workers_one_after_the_other(lane):
    Workers.answers += [{"outcome": "done", "zste/1": 50.0}, {"outcome": "done"}]
    assert lane.step() == {"outcome": "done", "zste/1": 50.0, "done": True}
    assert lane.reset_config({"job": OTHER})
    lane.step()
    (workers,) = Workers.started
    assert workers.jobs == [JOB, OTHER]


def test_a_bug_that_one_worker_reports_costs_the_job_alone(lane, traces):
    Workers.answers += [{"outcome": "failed", "reason": "ValueError: wrong", "trace": "Traceback", "seed": 0}]
    assert lane.step() == {"outcome": "failed", "reason": "ValueError: wrong", "done": True}
    assert traces == [(configuration(3), 0, "Traceback")]
    assert len(Workers.started) == 1


def test_a_bug_that_ends_the_group_is_the_same_with_new_workers_for_the_next_job(lane, traces):
    Workers.answers += [JobFailed("ValueError: wrong", "Traceback", 0), {"outcome": "done"}]
    assert lane.step() == {"outcome": "failed", "reason": "ValueError: wrong", "done": True}
    assert traces == [(configuration(3), 0, "Traceback")]
    assert lane.reset_config({"job": OTHER})
    assert lane.step()["outcome"] == "done"
    assert [workers.jobs for workers in Workers.started] == [[JOB], [OTHER]]
    assert [workers.is_forgotten for workers in Workers.started] == [True, False]


def test_a_loss_is_raised_and_leaves_no_trace(lane, traces):
    Workers.answers += [Lost("a worker is gone")]
    with pytest.raises(Lost, match="a worker is gone"):
        lane.step()
    assert traces == []


def test_workers_that_died_while_the_lane_was_idle_are_started_anew(lane):
    Workers.started[0].is_alive = False
    assert lane.reset_config({"job": OTHER})
    Workers.answers += [{"outcome": "done"}]
    lane.step()
    assert [workers.jobs for workers in Workers.started] == [[], [OTHER]]
    assert [workers.is_forgotten for workers in Workers.started] == [True, False]


def test_an_mlflow_that_refuses_the_traceback_does_not_have_the_job_tried_again(lane, monkeypatch):
    def refuse(*args):
        raise MlflowException("the experiment is deleted")

    monkeypatch.setattr(beside, "leave_traceback", refuse)
    Workers.answers += [{"outcome": "failed", "reason": "MlflowException: not active", "trace": "T", "seed": 0}]
    assert lane.step()["reason"] == "MlflowException: not active"


def test_an_mlflow_that_is_away_has_it_tried_again(lane, monkeypatch):
    def away(*args):
        try:
            raise NoConnection("nobody listens")
        except NoConnection:
            raise MlflowException("API request failed")  # noqa: B904 (as MLflow's client does)

    monkeypatch.setattr(beside, "leave_traceback", away)
    Workers.answers += [{"outcome": "failed", "reason": "KeyError", "trace": "T", "seed": 0}]
    with pytest.raises(Lost):
        lane.step()
