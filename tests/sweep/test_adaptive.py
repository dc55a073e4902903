"""Further seeds for those alone that may still be the best."""

import pytest

from tclap.config import LossCoefficients, config_hash
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS, ORDER
from tclap.flags import SweepSettings
from tclap.search_flags import SearchSettings
from tclap.sweep.adaptive import AdaptiveSource, contenders
from tclap.sweep.ledger import Ledger, Result

SETTINGS = SweepSettings(_cli_parse_args=False)
GOOD, CLOSE, BAD, WITH_A = (
    SETTINGS.configuration(stages, LossCoefficients(alpha_st=alpha), 40)
    for stages, alpha in (("B", 1), ("B", 0.5), ("B", 0), ("AB", 1))
)
# Of each seed in turn. CLOSE is as good as GOOD but for noise, BAD never is, and WITH_A is out with the fifth seed.
VALUES = {
    GOOD: [90, 92, 91, 93, 90, 92],
    CLOSE: [91, 90, 92, 91, 92, 90],
    BAD: [50, 51, 50, 51, 50, 51],
    WITH_A: [91, 87, 86, 88, 85, 0],
}


def result(configuration, seed):
    value = float(VALUES.get(configuration, [0.0] * 9)[seed])
    scores = {name: Score(value, 0.0, 100.0, 9, 50.0) for name in (*COLUMNS, *EXTRA_COLUMNS, *ORDER)}
    return Result(config_hash(configuration), seed, scores, 1.0, 3, "here")


def drive(source, ledger, most=100):
    """What is handed out to two lanes, as (stages, alpha_st, seeds that were not done), in order."""
    handed, running = [], []
    while len(handed) < most:
        while len(running) < 2 and not isinstance(job := source.next(), str | None):
            c = job.configuration
            left = tuple(s for s in job.seeds if ledger.get(c, s) is None)
            handed.append((c.stages, c.coefficients.alpha_st if c.coefficients else None, left))
            running.append(job)
        if not running:
            assert source.next() is None
            return handed
        job = running.pop(0)
        for seed in job.seeds:
            ledger.add(result(job.configuration, seed))
        source.ended(job, {})
    return handed


def adaptive(ledger, up_to, seeds=(0, 1), say=lambda text: None):
    return AdaptiveSource([GOOD, CLOSE, BAD, WITH_A], seeds, up_to, ledger, say)


def test_only_those_whose_interval_with_the_best_holds_0_get_another_seed(tmp_path):
    ledger, said = Ledger(tmp_path), []
    handed = drive(adaptive(ledger, 6, say=said.append), ledger)
    assert handed[:5] == [
        ("A", None, (0, 1)),
        ("B", 1, (0, 1)),
        ("B", 0.5, (0, 1)),
        ("B", 0, (0, 1)),
        ("AB", 1, (0, 1)),
    ]
    # With two seeds the interval is wide, and BAD's difference is the one that does not hold 0.
    assert handed[5:9] == [("A", None, (2,)), ("B", 1, (2,)), ("B", 0.5, (2,)), ("AB", 1, (2,))]
    seeds = {c: [s for s in range(6) if ledger.get(c, s)] for c in VALUES}
    assert seeds[GOOD] == seeds[CLOSE] == [0, 1, 2, 3, 4, 5]
    assert seeds[BAD] == [0, 1]
    assert seeds[WITH_A] == [0, 1, 2, 3, 4]
    assert said[0].startswith("seed 2 for those that may be the best after 2: ")
    assert config_hash(BAD) not in said[0]
    assert len(said) == 4


def test_one_seed_tells_nothing_so_all_get_a_second(tmp_path):
    ledger = Ledger(tmp_path, [result(c, 0) for c in VALUES])
    assert contenders([*VALUES], (0,), ledger) == [*VALUES]
    ledger.add(result(GOOD, 1))
    assert contenders([*VALUES], (0, 1), ledger) == [GOOD]  # the others lack the second
    assert contenders([BAD], (0, 1), ledger) == []


def test_a_start_after_a_kill_goes_on_where_it_was(tmp_path):
    whole = Ledger(tmp_path)
    everything = drive(adaptive(whole, 5), whole)
    ledger = Ledger(tmp_path)
    first = drive(adaptive(ledger, 5), ledger, most=7)  # two of them are lost with their lanes
    source = adaptive(ledger, 5)
    assert source.left()
    second = drive(source, ledger)
    assert ledger.results.keys() == whole.results.keys()
    assert len(first) + len(second) >= len(everything)
    again = adaptive(ledger, 5)
    assert again.left() == []
    assert again.next() is None
    more = adaptive(ledger, 6)  # as --seeds-up-to 6 after 5
    assert {seed for _, seed in more.left()} == {5}


def test_what_failed_drops_out(tmp_path):
    ledger = Ledger(tmp_path)
    source = AdaptiveSource([GOOD, CLOSE], (0, 1), 3, ledger, print)
    good, close = source.next(), source.next()
    for seed in (0, 1):
        ledger.add(result(GOOD, seed))
    source.ended(good, {})
    assert source.next() == "wait"
    source.ended(close, None)
    assert source.next() is None
    assert source.left() == [(CLOSE, 0), (CLOSE, 1)]


def test_the_number_is_more_than_the_seeds_and_a_search_has_none():
    with pytest.raises(ValueError, match="--seeds-up-to 2 is not more than the 2 of --seeds"):
        SweepSettings(_cli_parse_args=["--seeds", "0,1", "--seeds-up-to", "2"])
    with pytest.raises(ValueError, match="--seeds-up-to is for lists"):
        SearchSettings(_cli_parse_args=["--seeds-up-to", "4"])
