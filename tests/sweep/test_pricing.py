"""What a plan costs, by what has run under its name or beside it; and the receipt afterwards."""

import json
import os

import pytest

from tclap.config import LossCoefficients, config_hash
from tclap.flags import SweepSettings
from tclap.lanes.search import _stage_a_plan
from tclap.places import seed_folder_of
from tclap.search_flags import SearchSettings
from tclap.sweep.ledger import Ledger, Result, read_ledger, write_result
from tclap.sweep.plan import describe_search, make_plan, search_steps
from tclap.sweep.pricing import estimate_line, find_price
from tclap.sweep.receipt import receipt

SETTINGS = SweepSettings(_cli_parse_args=False)


def beside(storage, name, step_s, written_at, **identity):
    """A sweep with two results at this pace."""
    folder = storage / name
    for seed in (0, 1):
        write_result(seed_folder_of(folder, "abc", seed), Result("abc", seed, {}, 10 * step_s, 10, "here"))
    (folder / "sweep.json").write_text(json.dumps({**SETTINGS.identity(), **identity}))
    os.utime(folder / "sweep.json", (written_at, written_at))


def test_the_price_is_that_of_this_name_or_else_of_the_sweep_most_like_it(tmp_path):
    ledger = Ledger(tmp_path / "mine")
    assert find_price(ledger, SETTINGS.identity()) is None
    assert "nor with this model in this storage" in estimate_line(7, None)
    beside(tmp_path, "other-model", 9.0, 50, model="laion")
    assert find_price(ledger, SETTINGS.identity()) is None
    beside(tmp_path, "other-batch", 0.5, 40, batch_sizes=[20])
    assert find_price(ledger, SETTINGS.identity()).step_s == 0.5
    beside(tmp_path, "older", 0.1, 10)
    beside(tmp_path, "younger", 0.2, 20)
    price = find_price(ledger, SETTINGS.identity())
    assert price.step_s == pytest.approx(0.2)
    assert price.seen == "mean of 2 runs of the sweep younger: the same model, batches of 40"
    assert estimate_line(600, price).startswith(
        "estimate: 600 optimiser steps, 2.0 min of one lane's training at 0.20 s"
    )
    beside(tmp_path, "empty", 0.0, 90)
    for file in (tmp_path / "empty").glob("trials/*/*/result.json"):
        file.write_text("{}")  # of another version
    assert find_price(ledger, SETTINGS.identity()).seen == price.seen
    ledger.add(Result("own", 0, {}, 30.0, 10, "here"))
    assert find_price(ledger, SETTINGS.identity()).step_s == 3.0


@pytest.mark.parametrize("content", [b"[]", b"{", b"null", b"\xff", b"[" * 10**5, None])
def test_a_sweep_beside_it_that_cannot_be_read_is_passed_over(tmp_path, content):
    beside(tmp_path, "older", 0.1, 10)
    (tmp_path / "theirs").mkdir()
    claim = tmp_path / "theirs" / "sweep.json"
    if content is None:
        claim.mkdir()  # refused by the system, as a file of another user is
    else:
        claim.write_bytes(content)
    assert "of the sweep older" in find_price(Ledger(tmp_path / "mine"), SETTINGS.identity()).seen


def test_a_searchs_trials_are_counted_and_priced(tmp_path):
    settings = SearchSettings(trials=20, seeds=(0, 1), storage=tmp_path, _cli_parse_args=False)
    shared = _stage_a_plan(settings)
    ledger = Ledger(tmp_path / "search")
    assert search_steps(shared, ledger, 20) == 20 * 2 * 450 + 2 * 150
    ledger.add(Result(shared.stage_a_jobs()[0].hash, 0, {}, 15.0, 150, "here"))
    text = describe_search(shared, ledger, 20, 3, find_price(ledger, settings.identity()))
    assert "20 trials, 3 of them done, each 2 seeds of 450 steps" in text
    assert "(150 steps, 1 to train)" in text
    assert f"estimate: {17 * 2 * 450 + 150} optimiser steps, 25.8 min of one lane's training" in text
    assert "nothing left to do" in describe_search(shared, _all_done(shared, ledger), 20, 20, None)
    matched = _stage_a_plan(settings.model_copy(update={"match_steps": True}))
    assert "each 2 seeds of 450 to 600 steps" in describe_search(matched, ledger, 20, 0, None)


def _all_done(shared, ledger):
    for job in shared.stage_a_jobs():
        for seed in job.seeds:
            ledger.add(Result(job.hash, seed, {}, 15.0, 150, "here"))
    return ledger


def rows(count=4):
    return [
        SETTINGS.configuration(stages, LossCoefficients(alpha_st=n / 4), 40)
        for stages in ("B", "AB")
        for n in range(count)
    ]


def results(configurations, seeds):
    plan = make_plan(configurations, seeds)
    return [
        Result(job.hash, s, {}, 0.1 * (n := job.configuration.optimiser.steps), n, "here")
        for job in plan.jobs
        for s in seeds
    ]


def test_the_receipt_says_what_was_planned_and_spent_and_what_sharing_saved(tmp_path):
    ledger = Ledger(tmp_path, results(rows(), (0,)))
    text = receipt(ledger, set(), rows(), (0,), 240.0, 300.0, 29.4)
    # Four configurations of A and B shared one stage-A run of 150 steps, which took 15 s.
    assert text.splitlines() == [
        "receipt: 9 runs in 5.0 min; 4.0 min of training were planned, 6.2 min spent over all lanes",
        "  stages: 4 runs of A and B used 1 of stage A, which saved 450 steps, 0.8 min of training",
        "  lanes, base model and features: ready after 29 s, once for 9 runs, which saved up to 3.9 min",
    ]


def test_what_an_earlier_start_did_is_not_on_this_receipt_but_its_stage_a_saved_all_of_it(tmp_path):
    ledger = Ledger(tmp_path, results(rows(), (0,)))
    before = set(ledger.results)
    assert receipt(ledger, before, rows(), (0,), None, 1.0, None) == ""
    (more,) = rows(5)[9:]
    ledger.add(Result(config_hash(more), 0, {}, 30.0, 300, "here"))
    assert receipt(ledger, before, rows(5), (0,), None, 60.0, 3.0).splitlines() == [
        "receipt: 1 run in 1.0 min; no time was planned, 0.5 min spent over all lanes",
        "  stages: 1 run of A and B used 1 of stage A, which saved 150 steps, 0.2 min of training",
    ]


def test_the_receipt_counts_the_rest_of_a_stopped_seed_and_the_seeds_that_did_not_run(tmp_path):
    one, other, *_ = rows()
    ledger = Ledger(tmp_path)
    for configuration, seed, steps, stopped_at in ((one, 0, 300, None), (one, 1, 300, None), (other, 0, 60, 60)):
        ledger.add(Result(config_hash(configuration), seed, {}, steps / 10, steps, "here", stopped_at=stopped_at))
    assert receipt(ledger, set(), [one, other], (0, 1), None, 60.0, None).splitlines() == [
        "receipt: 3 runs in 1.0 min; no time was planned, 1.1 min spent over all lanes",
        "  stopped early: 1 trial, which saved 840 steps, 1.4 min of training",
    ]


def test_an_estimate_of_a_plan_uses_the_sweep_beside_it(tmp_path):
    beside(tmp_path, "table4", 0.1, 10)
    assert read_ledger(tmp_path / "none").results == {}
    assert find_price(read_ledger(tmp_path / "none"), SETTINGS.identity()).step_s == pytest.approx(0.1)
