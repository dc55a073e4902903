"""The time left, against a simulated clock."""

import pytest

from tclap.sweep.estimate import Estimate
from tclap.sweep.job import Job
from tests.sweep.test_plan import ROWS

JOBS = [Job(configuration, (0,)) for configuration in ROWS]
STEPS = 150


def simulate(lanes, s_per_step=0.1, between_s=2.0):
    """The clock at each job's end, and the estimate of what was left then, for jobs that take equally long."""
    clock = [100.0]
    estimate = Estimate({job.hash: STEPS for job in JOBS}, lambda: clock[0])
    said = []
    for start in range(0, len(JOBS), lanes):
        together = JOBS[start : start + lanes]
        for job in together:
            estimate.started(job, STEPS)
        clock[0] += STEPS * s_per_step + between_s
        for job in together:
            estimate.ended(job)
        said.append((clock[0], estimate.left_s()))
    return said


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_it_is_right_from_the_first_job_on_however_many_lanes_there_are(lanes):
    said = simulate(lanes)
    end_s = said[-1][0]
    for now_s, left_s in said:
        assert left_s == pytest.approx(end_s - now_s)


def test_steps_of_running_jobs_count_and_nothing_is_said_before_the_first():
    clock = [0.0]
    estimate = Estimate({JOBS[0].hash: 100, JOBS[1].hash: 100}, lambda: clock[0])
    assert estimate.left_s() is None
    estimate.started(JOBS[0], 100)
    assert estimate.left_s() is None
    clock[0] = 10.0
    estimate.at(JOBS[0].hash, 50)
    assert estimate.left_s() == pytest.approx(30.0)  # 150 steps at 5 a second
    estimate.at("features", 3)  # which is no job
    estimate.ended(JOBS[0])
    assert estimate.jobs_left == 1


def test_jobs_that_a_search_has_not_drawn_yet_count_as_the_others():
    clock = [0.0]
    estimate = Estimate({}, lambda: clock[0])
    estimate.started(JOBS[0], 100)
    clock[0] = 10.0
    estimate.ended(JOBS[0])
    assert estimate.left_s(further_jobs=3) == pytest.approx(30.0)
