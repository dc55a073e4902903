"""Searches asked and told directly: every point once, whatever the sampler, however often the driver dies."""

import functools
import itertools
from collections import Counter

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from tclap.config import COEFFICIENTS
from tclap.search_flags import SearchSettings
from tclap.sweep import study as studies
from tclap.sweep.job import Job
from tclap.sweep.outcome import STOPPED_EARLY, Outcome
from tclap.sweep.sources import WAIT
from tclap.sweep.space import size
from tclap.sweep.study_source import StudySource
from tests.sweep.searching import CHOICES, POINTS, SAMPLERS, SETTINGS, completed, drive, objectives, opened

pytestmark = pytest.mark.usefixtures("without_waiting_for_the_disk")


def _known(results, point):
    values = results.get(SETTINGS.at(point).model_dump_json())
    return None if values is None else Outcome(values)


def test_the_space_of_the_issue_has_192_points():
    assert size(CHOICES) == 192


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_gives_every_point_once_and_stops(sampler, tmp_path):
    study, source = opened(tmp_path / "study.journal", sampler)
    told, left = drive(source)
    assert not left
    assert len(told) == len({c.model_dump_json() for c in told}) == 192
    assert len(set(completed(study))) == len(completed(study)) == 192


def ranging(*vary: str) -> SearchSettings:
    return SearchSettings(batch_sizes=(8,), stages=("B",), vary=vary, _cli_parse_args=False)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_any_number_of_a_range_is_drawn_and_none_twice(sampler, tmp_path):
    settings = ranging("optimiser_b.weight_decay=0.001:0.1:log")
    for limit in (10, 25):  # the second goes on
        study, source = opened(tmp_path / "study.journal", sampler, settings, limit)
        studies.take_up(study, settings.choices(), lambda point: list(objectives(settings.at(point)).values()))
        drive(source)
    assert len(set(completed(study))) == len(completed(study)) == 25
    decays = {dict(point)["optimiser_b.weight_decay"] for point in completed(study)}
    assert len(decays) > 15  # NSGA-II hands some of them on
    assert min(decays) >= 0.001
    assert max(decays) <= 0.1
    assert np.median([*decays]) < 0.03  # of the logarithm: without it, half would lie above 0.05


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_range_of_whole_numbers_can_be_spent(sampler, tmp_path):
    settings = ranging("steps_b=2:4")
    assert size(settings.choices()) == 96
    study, source = opened(tmp_path / "study.journal", sampler, settings)
    told, left = drive(source)
    assert not left
    assert len({c.model_dump_json() for c in told}) == len(told) == len(set(completed(study))) == 96
    assert {c.optimiser_b.steps for c in told} == {2, 3, 4}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_interrupted_search_still_visits_each_point_once(sampler, tmp_path):
    """Killed at a random point with three trials open, twice; the third start does the rest."""
    rng = np.random.default_rng(SAMPLERS.index(sampler))
    results = {}
    for most in (int(rng.integers(1, 90)), int(rng.integers(1, 90)), 1000):
        study, source = opened(tmp_path / "study.journal", sampler)
        studies.take_up(study, CHOICES, functools.partial(_known, results))
        told, left = drive(source, most=most)
        results |= {c.model_dump_json(): list(objectives(c).values()) for c in told}
        if left:  # one of the trials finished, and the driver died before it could tell the study
            lost = left[0]
            results[lost.model_dump_json()] = list(objectives(lost).values())
    assert Counter(completed(study)).most_common(1)[0][1] == 1
    assert len(completed(study)) == len(results) == 192
    assert {t.state for t in study.trials} == {TrialState.COMPLETE, TrialState.FAIL}


def test_a_sampler_learns_from_what_it_is_told(tmp_path):
    """α_st = 1 is worth 40 points: of 50 points (10 of them random) TPE takes most there."""
    settings = SETTINGS.model_copy(update={"objectives": ("zste/order",)})
    study, source = opened(tmp_path / "study.journal", "tpe", settings, limit=50)
    drive(source)
    tried = [t.params["alpha_st"] for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(tried) == 50
    assert np.mean(tried) > 0.7


def test_a_failed_point_is_tried_again_at_the_next_start_only(tmp_path):
    place = tmp_path / "study.journal"
    study, source = opened(place, "random", limit=3)
    first = source.next()
    source.ended(first, None)
    told, _ = drive(source, at_once=1)
    assert len(told) == 2
    assert source.next() is None
    study, source = opened(place, "random", limit=3)
    results = {c.model_dump_json(): list(objectives(c).values()) for c in told}
    studies.take_up(study, CHOICES, functools.partial(_known, results))
    again = source.next()
    assert again == first
    source.ended(again, objectives(again.configuration))
    assert source.next() is None
    assert len(set(completed(study))) == len(completed(study)) == 3


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_a_point_that_is_left_out_is_not_handed_out_again_and_counts_as_tried(sampler, tmp_path):
    """It was interrupted, and is queued, or the study does not know it: its journal is a new one."""
    place = tmp_path / "study.journal"
    job = opened(place, sampler, limit=1)[1].next()
    for journal_file in (place, tmp_path / "new.journal"):
        for _ in range(2):  # as after a restart
            study, source = opened(journal_file, sampler, left_out={job.hash})
            studies.take_up(study, CHOICES, lambda p: None if SETTINGS.at(p) == job.configuration else Outcome([1, 2]))
            told, _ = drive(source)
            assert job.configuration not in told
        assert told == []
        assert len(set(completed(study))) == 191
        assert len(studies.visited(study, CHOICES)) == 192


def test_a_point_whose_results_were_deleted_is_tried_again(tmp_path):
    place = tmp_path / "study.journal"
    told, _ = drive(opened(place, "random", limit=3)[1])
    results = {c.model_dump_json(): list(objectives(c).values()) for c in told[1:]}
    for expected in ([told[0]], []):
        study, source = opened(place, "random", limit=3)
        studies.take_up(study, CHOICES, functools.partial(_known, results))
        again, _ = drive(source, at_once=1)
        assert again == expected
        results |= {c.model_dump_json(): list(objectives(c).values()) for c in again}
    assert len(studies.visited(study, CHOICES)) == 3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_stopped_trial_violates_a_constraint_and_never_is_among_the_best(tmp_path, sampler):
    """It has the highest values of all, as task 1 has before anything is forgotten."""
    place = tmp_path / "study.journal"
    study, source = opened(place, sampler, limit=30)
    first, second = source.next(), source.next()
    steps = first.configuration.optimiser.steps
    source.ended(first, {"zste/order": 99.0, "zste/1": 99.0, "stopped_at": steps // 4})
    source.ended(second, objectives(second.configuration))
    drive(source)
    stopped = next(t for t in study.trials if t.values == [99.0, 99.0])
    assert stopped.state == TrialState.COMPLETE
    assert stopped.constraints == {STOPPED_EARLY: 1 - (steps // 4) / steps}
    assert stopped.number not in {t.number for t in study.best_trials}
    assert len(completed(study)) == len(set(completed(study))) == 30
    # Without --stop-early it is not done: it is asked for again, and told what it gave in the end.
    study, source = opened(place, sampler, limit=30)
    done = {c.model_dump_json(): [0.0, 0.0] for c in map(SETTINGS.at, (dict(p) for p in completed(study)))}
    del done[first.configuration.model_dump_json()]
    studies.take_up(study, CHOICES, functools.partial(_known, done))
    again = source.next()
    assert again == first
    source.ended(again, objectives(again.configuration))
    assert source.next() is None
    feasible = [t for t in study.trials if t.state == TrialState.COMPLETE and not t.constraints]
    assert SETTINGS.at(feasible[-1].params) == first.configuration


def test_a_trial_that_was_stopped_while_its_driver_was_dead_is_told_so(tmp_path):
    study, source = opened(tmp_path / "study.journal", "random", limit=1)
    job = source.next()
    studies.take_up(study, CHOICES, lambda point: Outcome([1.0, 2.0], 0.75))
    (trial,) = study.trials
    assert (trial.values, trial.constraints) == ([1.0, 2.0], {STOPPED_EARLY: 0.75})
    assert SETTINGS.at(trial.params) == job.configuration


def test_learning_rates_in_any_order(tmp_path):
    lrs = (0.003, 0.002, 0.001)
    settings = SearchSettings(lrs=lrs, stages=("B",), _cli_parse_args=False)
    told, _ = drive(opened(tmp_path / "study.journal", "grid", settings)[1])
    assert len(told) == len({c.model_dump_json() for c in told}) == 3 * 32
    assert Counter(c.optimiser_b.lr for c in told) == dict.fromkeys(lrs, 32)


def test_a_metric_that_is_not_a_number_ends_the_trial_as_failed(tmp_path):
    study, source = opened(tmp_path / "study.journal", "random")
    source.ended(source.next(), {"zste/order": float("nan"), "zste/1": 50.0})
    assert [t.state for t in study.trials] == [TrialState.FAIL]


def test_a_point_waits_for_its_stage_a_run_and_others_come_meanwhile(tmp_path):
    """Stage A's run is handed out first; while it goes on only points of stage B alone are, and then what was held."""
    study = studies.open_study("s", tmp_path / "study.journal", "random", 3, SETTINGS.objectives)
    stage_a = list({c.parent: Job(c.parent, (0,)) for c in map(SETTINGS.at, POINTS) if c.parent}.values())
    source = StudySource(study, CHOICES, SETTINGS.at, SETTINGS.objectives, 40, False, 3, stage_a, (0,), print)
    assert [source.next() for _ in stage_a] == stage_a
    early = list(iter(source.next, WAIT))
    assert early
    assert {job.configuration.stages for job in early} == {"B"}
    for job in stage_a:
        source.ended(job, {})
    late = list(iter(source.next, None))
    assert len(early) + len(late) == 40
    assert late[0].configuration.stages == "AB"
    assert [SETTINGS.at(point) for point in source.asked if SETTINGS.at(point).stages == "AB"] == [
        job.configuration for job in late if job.configuration.stages == "AB"
    ]


def test_rows_come_first_and_once(tmp_path):
    rows = [
        dict(zip(CHOICES, values, strict=True)) for values in itertools.islice(itertools.product(*CHOICES.values()), 8)
    ]
    study, source = opened(tmp_path / "study.journal", "tpe", limit=10)
    for _ in range(2):  # as after a restart
        studies.enqueue_first(study, CHOICES, rows)
    told, _ = drive(source, at_once=1)
    assert told[:8] == [SETTINGS.at(row) for row in rows]
    assert len({c.model_dump_json() for c in told}) == 10


@pytest.mark.parametrize("vary", ["optimiser_b.weight_decay=0,0.1", "optimiser_b.weight_decay=0.001:0.1:log"])
def test_rows_that_leave_a_varied_setting_to_the_sampler_are_tried_once_however_often_it_starts(vary, tmp_path):
    settings = ranging(vary)
    rows = [{**dict.fromkeys(COEFFICIENTS, 1), "alpha_st": st, "stages": "B", "batch_size": 8} for st in (0, 1)]
    told = []
    for limit in (1, 2, 3):
        study, source = opened(tmp_path / "study.journal", "random", settings, limit)
        studies.take_up(study, settings.choices(), lambda point: Outcome([1, 2]))
        studies.enqueue_first(study, settings.choices(), rows)
        told += drive(source, at_once=1)[0]
    *first, sampled = [{name: trial.params[name] for name in rows[0]} for trial in study.trials]
    assert first == rows
    assert sampled not in rows
    assert len(told) == 3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_objective_learning_rates_and_finer_coefficients(sampler, tmp_path):
    settings = SearchSettings(any_alpha=True, lrs=(1e-4, 1e-3), objectives=("zste/1",), _cli_parse_args=False)
    study, source = opened(tmp_path / "study.journal", sampler, settings, limit=30)
    told, _ = drive(source)
    assert len({c.model_dump_json() for c in told}) == 30
    assert {c.optimiser_b.lr for c in told} <= {1e-4, 1e-3}
    weights = {c.coefficients.alpha_st for c in told} | {c.coefficients.beta for c in told}
    assert weights <= {i / 4 for i in range(9)}
    assert study.directions == [optuna.study.StudyDirection.MAXIMIZE]


def room_of(study, settings):
    choices = settings.choices()
    return studies.room(choices, studies.visited(study, choices), studies.warm(study, choices))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_another_sweep_found_is_known_and_counts_as_no_trial_and_is_not_drawn(tmp_path, sampler):
    small = SearchSettings(batch_sizes=(128,), stages=("B",), _cli_parse_args=False)
    points = [p for p in POINTS if small.at(p).stages == "B" and p["batch_size"] == 128]
    found = [(p, list(objectives(small.at(p)).values())) for p in points[:20]]
    study, source = opened(tmp_path / "study.journal", sampler, small, limit=10)
    assert studies.tell_warm(study, small.choices(), "table4", found) == 20
    assert studies.tell_warm(study, small.choices(), "table4", found) == 0  # as at the next start
    assert room_of(study, small) == 32 - 20
    told, _ = drive(source)
    assert len(told) == len(studies.visited(study, small.choices())) == 10
    assert not {studies.key(p) for p, _ in found} & studies.visited(study, small.choices()).keys()
    # After a restart they are not taken for trials of this search that lost their results.
    studies.take_up(study, small.choices(), lambda point: list(objectives(small.at(point)).values()))
    study, source = opened(tmp_path / "study.journal", sampler, small, limit=100)
    told, _ = drive(source)
    assert len(told) == 32 - 20 - 10  # the rest of the space
    assert room_of(study, small) == len(studies.visited(study, small.choices()))
    complete = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(complete) == 32
    assert sum(t.user_attrs.get(studies.WARM) == "table4" for t in complete) == 20
