"""Every suite in its maker's format: what is read, and that an oracle scores 100 and a constant model chance."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tclap.data.captions import spoken
from tclap.errors import InputError
from tclap.evaluation.suites import READERS, read_suite, timed
from tclap.evaluation.suites.items import Item, Suite
from tclap.evaluation.suites.scoring import pair_credit, score_items, score_suite
from tests.evaluation.suites.made_up import MADE_UP, constant, oracle, write_csv, write_sounds


@pytest.fixture(params=READERS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Suite, list[Path]]:
    """A made-up suite, and its sounds by the number of their pitch."""
    suite = read_suite(request.param, MADE_UP[request.param](tmp_path))

    def number(path: Path) -> tuple[int, str]:
        return int(re.findall(r"\d+", path.stem.removeprefix("1-"))[0]), path.stem

    return suite, sorted(tmp_path.rglob("*.wav"), key=number)


def test_an_oracle_scores_100(made: tuple[Suite, list[Path]]) -> None:
    suite, files = made
    scores = score_suite(oracle(suite, files), suite)  # type: ignore[arg-type]
    assert {name: score.value for name, score in scores.items()} == dict.fromkeys(scores, pytest.approx(100))
    for score in scores.values():
        assert score.low < 97
        assert score.high == 100


def test_a_constant_model_scores_chance(made: tuple[Suite, list[Path]]) -> None:
    suite, files = made
    for name, score in score_suite(constant(suite, files), suite).items():  # type: ignore[arg-type]
        assert score.value == pytest.approx(score.chance), name
        assert score.low < score.chance < score.high


def test_a_random_model_scores_near_chance(made: tuple[Suite, list[Path]]) -> None:
    suite, _ = made
    rng = np.random.default_rng(0)
    shape = (len(suite.items), 1 + max(len(item.wrong) for item in suite.items))
    absent = np.array([[k > len(item.wrong) for k in range(shape[1])] for item in suite.items])
    values: dict[str, list[float]] = {}
    for _ in range(400):
        scores = score_items(suite.items, np.where(absent, -np.inf, rng.standard_normal(shape)))
        for name, score in scores.items():
            values.setdefault(name, []).append(score.value)
    for name, score in scores.items():
        assert np.mean(values[name]) == pytest.approx(score.chance, abs=3), name


def test_compa_is_two_sounds_and_two_captions(tmp_path: Path) -> None:
    suite = read_suite("compa", MADE_UP["compa"](tmp_path))
    assert len(suite.items) == 16
    assert suite.items[1] == Item(
        tmp_path / "CompA_order_files" / "0_rev.wav",
        "Other 0 before event 0.",
        ("Event 0 before other 0.",),
        "line 2",
        "line 2",
    )
    scores = score_items(suite.items, np.zeros((16, 2)))
    assert {name: score.chance for name, score in scores.items()} == pytest.approx(
        {"item": 50, "text": 25, "audio": 25, "group": 100 / 6}
    )
    assert [score.n for score in scores.values()] == [16, 8, 8, 8]


def test_audiotime_takes_the_order_from_the_times(tmp_path: Path) -> None:
    suite = read_suite("audiotime", MADE_UP["audiotime"](tmp_path))
    assert len(suite.items) == 11  # the one whose events overlap is left out
    assert suite.items[0].right == "other 1 before sound 1"
    assert suite.items[0].wrong == ("sound 1 before other 1",)
    assert "1 of 12 entries left out" in suite.notes[1]


def test_dtu_pairs_each_caption_with_its_reverse(tmp_path: Path) -> None:
    suite = read_suite("dtu", MADE_UP["dtu"](tmp_path))
    assert (suite.items[3].right, suite.items[3].wrong) == ("Dog 3 before cat 3", ("Cat 3 before dog 3",))
    assert suite.items[3].audio.parent.name == "joint_audios"
    assert read_suite("dtu", tmp_path / "test.json") == suite


def test_dtu_reads_several_captions_of_a_sound(tmp_path: Path) -> None:
    write_sounds(tmp_path / "audio", ["a.wav"])
    for file, captions in (("x.json", ("One then two", "Rain")), ("x_reverse.json", ("Two then one", "Rain"))):
        entry = {"caption_1": captions[0], "caption_2": captions[1], "audio": "/their/disk/a.wav"}
        (tmp_path / file).write_text(json.dumps({"data": [entry]}))
    suite = read_suite("dtu", tmp_path / "x.json")
    assert [item.right for item in suite.items] == ["One then two"]
    assert suite.notes == ("1 caption(s) left out: the same when reversed",)


def test_timed_captions_make_an_item_of_what_has_ended_and_what_starts(tmp_path: Path) -> None:
    suite = read_suite("timed", MADE_UP["timed"](tmp_path))
    assert len(suite.items) == 4 * 1 + 4 * 3  # two captions in order, or three
    assert suite.items[0].right == "a dog 0 barks before rain 0 falls"
    assert {item.group for item in suite.items} == {f"{n}.wav" for n in range(8)}


def test_timed_captions_that_overlap_or_come_back_have_no_order(tmp_path: Path) -> None:
    write_sounds(tmp_path, ["a.wav", "b.wav"])
    rows = [
        ("a.wav", 0, 2, "a bell"),
        ("a.wav", 1, 3, "a dog"),  # overlaps the bell
        ("a.wav", 4, 5, "a bell"),  # and the bell comes back after it
        ("a.wav", 6, 7, "a horn"),
        ("b.wav", 0, 2, "wind"),
        ("b.wav", 1, 2, "rain"),
    ]
    suite = timed.read(write_csv(tmp_path / "own.csv", ["path", "start", "end", "caption"], rows))
    assert sorted(item.right for item in suite.items) == ["a bell before a horn", "a dog before a horn"]
    assert suite.notes == ("1 recording(s) left out: no two captions follow one another",)


def test_plain_items_take_any_number_of_wrong_captions(tmp_path: Path) -> None:
    suite = read_suite("plain", MADE_UP["plain"](tmp_path))
    assert [len(item.wrong) for item in suite.items[:3]] == [1, 2, 2]
    scores = score_items(suite.items, np.where(np.arange(3) <= 2, 0.0, 0.0) * np.ones((12, 1)))
    assert set(scores) == {"item", "text"}  # three sounds are no pair
    write_csv(tmp_path / "alone.csv", ["audio", "right", "wrong"], [("0.wav", "a", "b"), ("1.wav", "c", "d")])
    alone = read_suite("plain", tmp_path / "alone.csv")
    assert set(score_items(alone.items, np.zeros((2, 2)))) == {"item"}


def slow_pair(s: list[list[float]]) -> dict[str, float]:
    """Winoground's three scores, averaged over every order of four values that breaks their ties."""
    flat = [s[0][0], s[0][1], s[1][0], s[1][1]]
    totals, count = {"text": 0.0, "audio": 0.0, "group": 0.0}, 0
    for order in itertools.permutations(range(4)):
        a_right, a_wrong, b_right, b_wrong = zip(flat, order, strict=True)
        text = a_right > a_wrong and b_right > b_wrong
        audio = a_right > b_wrong and b_right > a_wrong
        count += 1
        totals = {
            "text": totals["text"] + text,
            "audio": totals["audio"] + audio,
            "group": totals["group"] + (text and audio),
        }
    return {name: total / count for name, total in totals.items()}


@pytest.mark.parametrize("seed", range(30))
def test_pair_credit_is_the_mean_over_every_order_of_the_tied(seed: int) -> None:
    s = np.random.default_rng(seed).integers(0, 3, (1, 2, 2)) / 4
    got = {name: float(values[0]) for name, values in pair_credit(s).items()}
    assert got == pytest.approx(slow_pair(s[0].tolist()))


def test_intervals_cover_when_items_share_units() -> None:
    """95% intervals of the mean of 40 units of 10 items whose units differ: most hold the true mean."""

    def items_of(units: np.ndarray) -> list[Item]:
        return [Item(Path(f"{n}.wav"), "a b", ("b a",), str(n), str(unit)) for n, unit in enumerate(units)]

    rng = np.random.default_rng(0)
    shared, apart = items_of(np.repeat(np.arange(40), 10)), items_of(np.arange(400))
    covered, naive = 0, 0
    for _ in range(500):
        rates = rng.beta(2, 2, 40)
        right = (rng.random((40, 10)) < rates[:, None]).ravel()
        similarity = np.stack([right, ~right], axis=1).astype(float)
        score, alone = score_items(shared, similarity)["item"], score_items(apart, similarity)["item"]
        covered += score.low <= 50 <= score.high
        naive += alone.low <= 50 <= alone.high
    assert covered / 500 > 0.92
    assert naive / 500 < 0.85


FAULTS = {
    "no such suite": (lambda p: read_suite("winoground", p), "unknown suite 'winoground'; known are compa"),
    "no such path": (lambda p: read_suite("plain", p / "nowhere.csv"), "nowhere.csv not found"),
    "not that csv": (
        lambda p: read_suite("compa", write_csv(p / "x.csv", ["audio", "right", "wrong"], [("a", "b", "c")])),
        "x.csv lacks the columns pair_caption",
    ),
    "no sounds": (
        lambda p: read_suite("plain", write_csv(p / "x.csv", ["audio", "right", "wrong"], [("a.wav", "b", "c")])),
        "1 sound(s) that .*x.csv names are missing in .*: a.wav",
    ),
    "no wrong caption": (
        lambda p: read_suite("plain", write_csv(p / "x.csv", ["audio", "right", "wrong"], [("a.wav", "b", "")])),
        "a.wav needs a right caption and a wrong one",
    ),
    "right is wrong": (
        lambda p: read_suite("plain", write_csv(p / "x.csv", ["audio", "right", "wrong"], [("a.wav", "b", "b")])),
        "a.wav has the same caption twice",
    ),
    "ends before it starts": (
        lambda p: timed.read(write_csv(p / "x.csv", ["path", "start", "end", "caption"], [("a.wav", 2, 1, "b")])),
        "x.csv line 2: it needs a path, a caption, and an end after its start",
    ),
    "no time": (
        lambda p: timed.read(write_csv(p / "x.csv", ["path", "start", "end", "caption"], [("a.wav", "x", 1, "b")])),
        "x.csv line 2: start 'x' is not a time in seconds",
    ),
    "empty": (lambda p: read_suite("audiotime", p), "has no ordering captions of AudioTime"),
    "no reverse": (
        lambda p: ((p / "test.json").write_text('{"data": []}'), read_suite("dtu", p)),
        "test_reverse.json cannot be read as captions of SynCaps",
    ),
    "another json": (
        lambda p: ((p / "ordering_captions.json").write_text('{"a": {"events": 1}}'), read_suite("audiotime", p)),
        'a has no "event"',
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_in_one_line(fault: str, tmp_path: Path) -> None:
    act, message = FAULTS[fault]
    with pytest.raises(InputError, match=message.replace("(s)", r"\(s\)")) as caught:
        act(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [("A dog barks.", "a dog barks"), ("TV on", "TV on"), ("I hear rain.", "I hear rain"), (" rain ", "rain")],
)
def test_captions_become_part_of_a_sentence(caption: str, expected: str) -> None:
    assert spoken(caption) == expected
