"""What lies behind scores: the worst mistakes, order by pairs of classes, and their way to a file and back."""

import dataclasses
import json

import numpy as np
import pytest

from tclap.config import DataSettings
from tclap.data import compose
from tclap.evaluation.details import MOST, TASK, details_of, from_json, most_wrong, to_json
from tclap.evaluation.items import Suite
from tclap.evaluation.order import by_pair, order_table
from tclap.evaluation.zste import build_suite, suite_credits
from tests.helpers import index_only

TEXT = np.eye(3, dtype=np.float32)  # three captions, each its own direction
SUITE = build_suite(index_only(5, clips_per_fold=4), (4,), DataSettings(eval_takes=2))


def suite_of(classes: list[list[int]]) -> Suite:
    """A suite with one item in TASK for each of `classes`, whose first caption is right."""
    n = len(classes)
    rows = np.array([[0, k, k, 0, 1000, 0, 0, compose.NO_NOISE] for k in range(n)])
    task = dataclasses.replace(
        SUITE.tasks[TASK],
        windows=np.arange(n),
        candidates=np.tile([0, 1, 2], (n, 1)),
        right=np.tile([True, False, False], (n, 1)),
        classes=np.array(classes),
    )
    captions = ("a before b", "b before a", "a while b")
    return dataclasses.replace(SUITE, tasks={TASK: task}, composites=compose.Composites(rows), captions=captions)


def test_the_worst_margins_come_first_one_for_each_pair_of_classes() -> None:
    audio = np.array([[0, 0.9, 0.1], [0.5, 0.6, 0], [0.2, 0, 0.9], [0.9, 0, 0], [0.4, 0.4, 0]], np.float32)
    suite = suite_of([[0, 1], [1, 0], [0, 2], [1, 2], [2, 3]])
    found = most_wrong(suite, audio, TEXT)
    # Item 1 has the pair of item 0 with a smaller margin; 3 is right; 4 is a tie.
    assert [(one.window[1], one.right, one.chosen) for one in found] == [
        (0, "a before b", "b before a"),
        (2, "a before b", "a while b"),
    ]
    assert found[0].cosine_chosen == pytest.approx(0.9)
    assert found[1].cosine_right == pytest.approx(0.2)
    assert len(most_wrong(suite, audio, TEXT, most=1)) == 1


def test_details_hold_pairs_and_mistakes_and_come_back_from_json() -> None:
    rng = np.random.default_rng(0)
    audio, text = rng.standard_normal((len(SUITE.composites), 8)), rng.standard_normal((len(SUITE.captions), 8))
    credit = suite_credits(SUITE, audio, text)["order"]
    names = [f"class {n}" for n in range(5)]
    details = details_of(SUITE, names, credit, audio, text, window_s=2.0, sample_rate_hz=16000)
    expected = by_pair(order_table(SUITE, credit, names))
    np.testing.assert_allclose(details.pairs().to_numpy(), expected.to_numpy(), atol=0.01)
    assert list(details.pairs().index) == list(expected.columns)
    assert np.isnan(details.pairs().iloc[0, 0])
    assert 0 < len(details.wrong) <= MOST
    assert {one.window for one in details.wrong} <= set(map(tuple, SUITE.composites.rows().tolist()))
    text_form = to_json(details)
    assert "NaN" not in text_form  # which is no JSON
    assert len(text_form) < 20_000
    assert from_json(text_form) == details
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_json(json.dumps({"classes": []}))
