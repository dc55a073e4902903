"""What is done, read at once and kept."""

import json
from dataclasses import replace

import pytest

from tclap.config import config_hash
from tclap.errors import InputError
from tclap.evaluation.statistics import Score
from tclap.places import seed_folder
from tclap.sweep.ledger import Ledger, Result, drop_result, from_json, read_ledger, read_result, to_json, write_result
from tests.tracking.conftest import configuration

ONE, OTHER = configuration(1), configuration(2)


def result(of, seed):
    scores = {"3A": Score(50.0, 40.0, 60.0, 12, 100 / 3)}
    return Result(config_hash(of), seed, scores, 1.5, 4, "host", "run", {"clotho": {"t2a_r1": Score(1, 0, 2, 9, 1)}})


def test_a_result_survives_its_file(tmp_path):
    write_result(tmp_path, result(ONE, 0))
    assert read_result(tmp_path) == result(ONE, 0) == from_json(to_json(result(ONE, 0)))
    assert read_result(tmp_path / "elsewhere") is None


def test_a_result_keeps_its_curve_and_an_older_one_has_none(tmp_path):
    curved = replace(result(ONE, 0), curve={25: {"zste/1": 100 / 3}, 50: {"zste/1": 50.0}})
    assert from_json(to_json(curved)) == curved
    older = json.loads(to_json(curved))
    del older["curve"]
    assert from_json(json.dumps(older)) == result(ONE, 0)


def test_a_stopped_result_decides_for_all_seeds_unless_it_is_to_go_on(tmp_path):
    write_result(seed_folder(tmp_path, ONE, 0), replace(result(ONE, 0), stopped_at=2))
    stopped = read_ledger(tmp_path)
    assert stopped.seeds_left(ONE, (0, 1)) == []
    assert stopped.get(ONE, 0).stopped_at == 2
    going_on = read_ledger(tmp_path, stops_early=False)
    assert going_on.seeds_left(ONE, (0, 1)) == [0, 1]
    going_on.look_again(ONE, (0, 1))
    assert not going_on.results
    drop_result(seed_folder(tmp_path, ONE, 0))
    assert read_ledger(tmp_path).seeds_left(ONE, (0, 1)) == [0, 1]


def test_everything_below_the_folder_is_read_and_nothing_else(tmp_path):
    assert read_ledger(tmp_path / "not there").results == {}
    for of, seed in ((ONE, 0), (ONE, 1), (OTHER, 0)):
        write_result(seed_folder(tmp_path, of, seed), result(of, seed))
    seed_folder(tmp_path, OTHER, 1).mkdir(parents=True)  # which has begun
    ledger = read_ledger(tmp_path)
    assert set(ledger.results) == {(config_hash(ONE), 0), (config_hash(ONE), 1), (config_hash(OTHER), 0)}
    assert ledger.is_done(ONE, (0, 1))
    assert not ledger.is_done(OTHER, (0, 1))
    assert [r.seed for r in ledger.of(OTHER, (1, 0))] == [0]
    write_result(seed_folder(tmp_path, OTHER, 1), result(OTHER, 1))
    assert ledger.get(OTHER, 1) is None
    ledger.look_again(OTHER, (0, 1))
    assert ledger.is_done(OTHER, (0, 1))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"scores": 1}', '{"of": "another version"}', "null"])
def test_a_file_that_is_no_result_is_named(tmp_path, text):
    place = seed_folder(tmp_path, ONE, 0)
    place.mkdir(parents=True)
    (place / "result.json").write_text(text)
    with pytest.raises(InputError, match=r"seed-0/result.json is not a result of this version of tclap: delete it"):
        read_ledger(tmp_path)


def test_an_empty_ledger_has_nothing(tmp_path):
    assert not Ledger(tmp_path).is_done(ONE, (0,))
    assert Ledger(tmp_path).is_done(ONE, ())
