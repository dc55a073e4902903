"""Configurations as jobs, in order, with what is done."""

from tclap.config import LossCoefficients
from tclap.flags import SweepSettings
from tclap.sweep.job import Job
from tclap.sweep.ledger import Ledger, Result
from tclap.sweep.plan import describe, make_plan, shared_settings

SETTINGS = SweepSettings(batch_sizes=(4, 8), _cli_parse_args=False)
ROWS = [
    SETTINGS.configuration(stages, LossCoefficients(alpha_st=alpha), size)
    for size in (4, 8)
    for stages in ("B", "AB")
    for alpha in (0, 1)
]


def test_stage_a_comes_first_once_for_each_batch_size_and_then_b_and_its_children():
    plan = make_plan([*ROWS, ROWS[0]], (0, 1))
    assert [job.configuration.stages for job in plan.jobs] == ["A", "A", "B", "B", "B", "B", "AB", "AB", "AB", "AB"]
    assert len({job.hash for job in plan.jobs}) == 10
    by_hash = {job.hash: job.configuration for job in plan.jobs}
    assert [by_hash[job.parent].batch_size for job in plan.jobs if job.parent] == [4, 4, 8, 8]
    assert {job.seeds for job in plan.jobs} == {(0, 1)}
    assert plan.trials() == [c for stages in ("B", "AB") for c in ROWS if c.stages == stages]


def test_a_job_survives_its_json():
    for job in (*make_plan(ROWS, (0, 3)).jobs, Job(ROWS[0], (), prepares=True)):
        assert Job.from_json(job.to_json()) == job


def test_what_is_left_and_what_is_said_of_it(tmp_path):
    plan = make_plan(ROWS[:4], (0, 1))
    stage_a = plan.jobs[0]
    ledger = Ledger(tmp_path, [Result(stage_a.hash, seed, {}, 3.0, 150, "here") for seed in (0, 1)])
    ledger.add(Result(plan.jobs[1].hash, 1, {}, 6.0, 150, "here"))
    left = plan.left(ledger)
    assert len(left) == 2 * 5 - 3
    text = describe(plan, ledger)
    assert "4 configurations and 1 stage-A run, seeds 0, 1" in text
    assert f"{stage_a.hash}  A  batch 4  (150 steps, shared by 2 AB configurations, done)" in text
    assert "(450 steps, seeds [1] done)" in text
    assert f"(450 steps, starts from {stage_a.hash})" in text
    assert "estimate: 3150 optimiser steps, 1.4 min of one lane's training at 0.03 s a step (mean of 3" in text
    assert "nothing has run under this name yet" in describe(plan, Ledger(tmp_path))
    for job in plan.jobs:
        for seed in job.seeds:
            ledger.add(Result(job.hash, seed, {}, 3.0, 150, "here"))
    assert "nothing left to do" in describe(plan, ledger)


def test_what_jobs_share_is_named_once():
    plan = make_plan(ROWS, (0,))
    assert len(shared_settings(plan.jobs)) == 1
    other = ROWS[0].model_copy(update={"data": ROWS[0].data.model_copy(update={"takes": 3})})
    assert len(shared_settings([*plan.jobs, Job(other, (0,))])) == 2
