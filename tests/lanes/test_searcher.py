"""Tune's view of a source: preparations first, what is done into the ledger, what was stopped told to nobody."""

import json

import pytest
from ray.tune.search import Searcher

from tclap.config import Configuration, LossCoefficients, OptimiserSettings, StageASettings
from tclap.errors import InputError
from tclap.lanes.searcher import SourceSearcher
from tclap.places import seed_folder
from tclap.sweep.job import Job
from tclap.sweep.ledger import Ledger, Result, to_json, write_result
from tclap.sweep.plan import make_plan
from tclap.sweep.sources import ListSource
from tclap.sweep.steering import EVERYTHING


def configuration(stages, alpha=1.0):
    with_a = stages == "AB"
    return Configuration(
        stages=stages,
        batch_size=4,
        coefficients=LossCoefficients(alpha_st=alpha),
        optimiser_b=OptimiserSettings(),
        stage_a=StageASettings() if with_a else None,
        optimiser_a=OptimiserSettings() if with_a else None,
    )


PLAN = make_plan([configuration("B"), configuration("AB")], (0, 1))


class Scene:
    """A searcher over PLAN and what it did."""

    def __init__(self, folder, lanes=2):
        self.ledger, self.stop, self.ready = Ledger(folder), False, 0
        source = ListSource(PLAN.jobs, self.ledger)
        self.searcher = SourceSearcher(
            source, [configuration("B")], lanes, self.ledger, lambda: self.stop, self._waits, self._prepared
        )
        self.paused = set()
        self._ids = iter(range(100))

    def _waits(self, job):
        return job in self.paused

    def _prepared(self):
        self.ready += 1

    def ask(self):
        """(trial id, job), or what the searcher says instead."""
        trial_id = str(next(self._ids))
        suggestion = self.searcher.suggest(trial_id)
        return (trial_id, Job.from_json(suggestion["job"])) if isinstance(suggestion, dict) else suggestion

    def end(self, trial_id, outcome, **more):
        self.searcher.on_trial_complete(trial_id, {"outcome": outcome, **more})

    def prepare(self):
        for trial_id, job in [self.ask(), self.ask()]:
            assert job.prepares
            self.end(trial_id, "done")

    def finish(self, trial_id, job):
        results = [to_json(Result(job.hash, seed, {}, 1.0, 3, "here")) for seed in job.seeds]
        self.end(trial_id, "done", results=json.dumps(results))


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_every_lane_prepares_and_jobs_wait_for_all_of_it(scene):
    (one, first), (other, second) = scene.ask(), scene.ask()
    assert first.prepares
    assert second.prepares
    assert scene.ask() is None
    scene.end(one, "done")
    assert scene.ask() is None
    assert scene.ready == 0
    scene.end(other, "done")
    assert scene.ready == 1
    assert scene.ask()[1] == PLAN.jobs[0]


def test_a_child_is_handed_out_when_its_parent_is_done_and_the_ledger_knows(scene):
    scene.prepare()
    stage_a, alone = scene.ask(), scene.ask()
    assert [stage_a[1], alone[1]] == list(PLAN.jobs[:2])
    assert scene.ask() is None
    scene.finish(*stage_a)
    assert scene.ledger.is_done(stage_a[1].configuration, (0, 1))
    child = scene.ask()
    assert child[1] == PLAN.jobs[2]
    scene.finish(*child)
    scene.finish(*alone)
    assert scene.ask() == Searcher.FINISHED


def test_what_was_stopped_or_failed_leaves_its_finished_seeds_in_the_ledger(scene, tmp_path):
    scene.prepare()
    trial_id, job = scene.ask()
    write_result(seed_folder(tmp_path, job.configuration, 0), Result(job.hash, 0, {}, 1.0, 3, "here"))
    scene.stop = True
    scene.end(trial_id, "stopped")
    assert scene.ledger.get(job.configuration, 0) is not None
    assert scene.ledger.get(job.configuration, 1) is None
    assert scene.ask() == Searcher.FINISHED


def test_a_job_that_is_paused_while_it_runs_goes_on_when_it_is_resumed(scene):
    scene.prepare()
    trial_id, job = scene.ask()
    other = scene.ask()
    scene.paused.add(job.hash)
    scene.end(trial_id, "stopped")
    assert scene.ask() is None  # the child waits for it, and something runs
    scene.paused.clear()
    again = scene.ask()
    assert again[1] == job
    scene.finish(*again)
    child = scene.ask()
    assert child[1] == PLAN.jobs[2]
    scene.finish(*child)
    scene.finish(*other)
    assert scene.ask() == Searcher.FINISHED


def test_a_job_that_is_paused_before_it_began_is_passed_over_and_the_sweep_ends_without_it(scene):
    scene.prepare()
    scene.paused.add(PLAN.jobs[0].hash)
    assert scene.ask() is None
    alone = scene.ask()
    assert alone[1] == PLAN.jobs[1]
    assert scene.ask() is None
    scene.finish(*alone)
    assert scene.ask() == Searcher.FINISHED  # its child cannot run either


def test_a_job_that_is_resumed_while_the_last_one_runs_goes_on(scene):
    scene.prepare()
    stage_a, alone = scene.ask(), scene.ask()
    scene.finish(*stage_a)
    scene.paused.add(alone[1].hash)
    scene.end(alone[0], "stopped")
    child = scene.ask()
    assert scene.ask() is None  # nothing else is left, but what is paused may be resumed
    scene.paused.clear()
    again = scene.ask()
    assert again[1] == alone[1]
    assert scene.ask() is None  # and what runs may be paused
    scene.finish(*child)
    scene.finish(*again)
    assert scene.ask() == Searcher.FINISHED


def test_a_paused_sweep_waits_and_does_not_end(scene):
    scene.prepare()
    scene.paused.add(EVERYTHING)
    beats = []
    scene.searcher.on_wait = lambda: beats.append(1)  # Tune calls no callback while nothing runs
    assert [scene.ask() for _ in range(3)] == [None] * 3
    assert len(beats) == 3
    scene.paused.clear()
    assert scene.ask()[1] == PLAN.jobs[0]


def test_a_clip_that_cannot_be_used_ends_the_sweep_as_wrong_input(scene):
    trial_id, _ = scene.ask()
    scene.end(trial_id, "failed", reason="InputError: 1 unusable file: a.wav: silent: at 16000 Hz")
    assert isinstance(scene.searcher.preparation_failed, InputError)
    assert str(scene.searcher.preparation_failed) == "1 unusable file: a.wav: silent: at 16000 Hz"
    assert scene.ask() == Searcher.FINISHED


def test_a_preparation_that_was_lost_again_and_again_ends_the_sweep(scene):
    trial_id, _ = scene.ask()
    scene.searcher.on_trial_complete(trial_id, error=True)
    assert isinstance(scene.searcher.preparation_failed, RuntimeError)


def test_fewer_lanes_than_feature_sets_prepare_each_set_once(tmp_path):
    shared = [configuration("B").model_copy(update={"batch_size": n}) for n in (1, 2, 3)]
    searcher = SourceSearcher(ListSource([], Ledger(tmp_path)), shared, 2, Ledger(tmp_path), bool, bool, bool)
    handed = [Job.from_json(searcher.suggest(str(n))["job"]) for n in range(3)]
    assert [job.configuration for job in handed] == shared
    assert searcher.suggest("more") is None
