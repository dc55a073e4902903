"""ZSTE's conformance: what any task must do for an oracle, a constant and a random model."""

import dataclasses
import itertools
import math
from functools import lru_cache

import numpy as np
import pytest

from tclap.config import DataSettings
from tclap.data.compose import JOIN, NO_NOISE, OVERLAY, SINGLE
from tclap.data.dataset import Dataset
from tclap.evaluation.items import Suite
from tclap.evaluation.ranking import credit
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import (
    COLUMNS,
    EXTRA_COLUMNS,
    HARD_COLUMNS,
    TEMPORAL,
    build_suite,
    score_suite,
    summary,
)
from tests.helpers import index_only

TASKS = (*COLUMNS, *EXTRA_COLUMNS, *HARD_COLUMNS)
ALL_TEMPORAL = (*TEMPORAL, *HARD_COLUMNS)
CLASSES = (5, 10, 50)
TAKES = {5: 3, 10: 2, 50: 1}
EVAL_FOLDS = (4,)

every_task = pytest.mark.parametrize("name", TASKS)
every_size = pytest.mark.parametrize("classes", CLASSES)


@lru_cache
def data_of(classes: int) -> Dataset:
    return index_only(classes, clips_per_fold=3)


def settings(classes: int, seed: int = 0) -> DataSettings:
    return DataSettings(eval_takes=TAKES[classes], draw_seed=seed)


@lru_cache
def suite_of(classes: int) -> Suite:
    return build_suite(data_of(classes), EVAL_FOLDS, settings(classes))


ORDER_CHANCE = {"order/paired": 1 / 4}  # of the other order columns 1/2


def stated_chance(name: str, c: int) -> float:
    """Design 6, the last column of its table."""
    captions = 2 * c * (c - 1)  # "x before y" and "x while y"
    k_4 = min(50, 3 + captions - 4)  # all less those of the item's two classes, plus its own three
    k_5b = min(50, c * (c - 1))
    k_hard = min(50, 3 + 8 * (c - 2))  # with each absent class: either own class, in two orders, before and while
    pairs = math.comb(c, 2)
    return {
        "4A_hard": 1 / k_hard,
        "4B_hard": 1 / k_hard,
        "1": 1 / c,
        "2A": 1 / pairs,
        "2B": 1 - math.comb(c - 2, 2) / pairs,
        "2C": 1 / pairs,
        "2D": 1 - math.comb(c - 2, 2) / pairs,
        "3A": 1 / 3,
        "3B": 1 / 3,
        "4A": 1 / k_4,
        "4B": 1 / k_4,
        "5A": 1 / 2,
        "5B": 2 / k_5b,
        "3A_order": 1 / 2,
        "5A_both": 1 / 6,
        "5B_both": 1 / math.comb(k_5b, 2),
    }[name]


def names_heard(classes: int, name: str, item: int) -> tuple[str, str]:
    data, task = data_of(classes), suite_of(classes).tasks[name]
    i, j = (data.class_names[data.class_ids[clip]] for clip in task.clips[item])
    return i, j


def right_captions(name: str, i: str, j: str) -> set[str]:
    """Design 6 for a window in which i sounds before j (or while j, or alone), as text."""
    if name in ("1", "2A", "2B", "2C", "2D"):
        return {f"The sound of {i}", f"The sound of {j}"}
    if name in ("3A", "3A_order", "4A", "4A_hard"):
        return {f"{i} before {j}"}
    if name in ("3B", "4B", "4B_hard"):
        return {f"{i} while {j}"}
    if name.startswith("5A"):
        here = "In this concatenated sound, the"
        return {f"{here} first sound is {i}", f"{here} second sound is {j}"}
    return {f"Simultaneous sound of {i} and {j}", f"Simultaneous sound of {j} and {i}"}


def own_captions(name: str, i: str, j: str, class_names: tuple[str, ...], texts: list[str]) -> set[str]:
    """Every candidate that is no distractor. Both ways to say "while" mean the same: there is one of them."""
    (while_caption,) = {f"{i} while {j}", f"{j} while {i}"} & set(texts) if name in ALL_TEMPORAL else {""}
    if name in ("1", "2A", "2B", "2C", "2D"):
        return {f"The sound of {c}" for c in class_names}
    orders = {f"{i} before {j}", f"{j} before {i}"}
    if name == "3A_order":
        return orders
    if name in ALL_TEMPORAL:
        return orders | {while_caption}
    if name.startswith("5A"):
        return {f"In this concatenated sound, the {p} sound is {c}" for p in ("first", "second") for c in (i, j)}
    return right_captions(name, i, j)


def test_the_suite_has_the_sixteen_columns() -> None:
    assert tuple(suite_of(5).tasks) == TASKS
    assert len(TASKS) == 16


@every_size
@every_task
def test_an_oracle_scores_100(name: str, classes: int) -> None:
    task = suite_of(classes).tasks[name]
    np.testing.assert_array_equal(credit(task.right.astype(float), task.right, task.rule), 1.0)
    with_noise = task.right + np.random.default_rng(0).random(task.right.shape) * 0.99
    np.testing.assert_array_equal(credit(with_noise, task.right, task.rule), 1.0)


@every_size
@every_task
def test_the_opposite_of_an_oracle_scores_nothing(name: str, classes: int) -> None:
    task = suite_of(classes).tasks[name]
    wrong = (~task.right).sum(axis=1)
    assert (wrong > 0).all()
    expected = np.zeros(len(wrong))
    np.testing.assert_allclose(credit(-task.right.astype(float), task.right, task.rule), expected, atol=1e-12)


@every_size
def test_an_oracle_embedding_scores_100_in_task_1(classes: int) -> None:
    """Through embeddings: that windows, captions and items are lined up."""
    data, suite = data_of(classes), suite_of(classes)
    audio = np.zeros((len(suite.composites), classes + 1))
    audio[np.arange(len(audio)), data.class_ids[suite.composites.first]] = 1
    text = np.zeros((len(suite.captions), classes + 1))
    for row, caption in enumerate(suite.captions):
        named = [c for c, name in enumerate(data.class_names) if caption == f"The sound of {name}"]
        text[row, named or [classes]] = 1
    scores = score_suite(suite, audio, text)
    assert scores["1"].value == 100
    assert scores["2B"].value == scores["2D"].value == 100
    assert scores["2A"].value < 100


@every_size
def test_a_constant_model_scores_exactly_chance(classes: int) -> None:
    suite = suite_of(classes)
    z = np.random.default_rng(0).standard_normal(16).astype(np.float32)
    z /= np.linalg.norm(z)
    audio, text = np.tile(z, (len(suite.composites), 1)), np.tile(z, (len(suite.captions), 1))
    scores = score_suite(suite, audio, text)
    assert set(TASKS) < set(scores)
    for name, score in scores.items():
        chance = stated_chance(name, classes) if name in TASKS else ORDER_CHANCE.get(name, 1 / 2)
        assert score.value == pytest.approx(100 * chance, abs=1e-9), name
        assert score.chance == pytest.approx(100 * chance, abs=1e-9), name


@every_size
@every_task
def test_random_models_are_at_chance(name: str, classes: int) -> None:
    """The mean of 200 models over a few items each, within 3 of its standard errors."""
    task = suite_of(classes).tasks[name]
    rng = np.random.default_rng([classes, TASKS.index(name)])
    few = rng.choice(len(task.right), min(60, len(task.right)), replace=False)
    means = [
        credit(rng.standard_normal((len(few), task.right.shape[1])), task.right[few], task.rule).mean()
        for _ in range(200)
    ]
    error = np.std(means, ddof=1) / math.sqrt(len(means))
    assert error > 0
    assert abs(np.mean(means) - stated_chance(name, classes)) < 3 * error


def test_random_embeddings_are_at_chance() -> None:
    """200 models through the whole of score_suite, where the items of one model are not independent."""
    suite = build_suite(data_of(5), EVAL_FOLDS, DataSettings(eval_takes=1))
    rng = np.random.default_rng(0)

    def values() -> dict[str, float]:
        audio = rng.standard_normal((len(suite.composites), 32))
        text = rng.standard_normal((len(suite.captions), 32))
        return {
            name: credit(
                np.take_along_axis(audio[task.windows] @ text.T, task.candidates, axis=1),
                task.right,
                task.rule,
            ).mean()
            for name, task in suite.tasks.items()
        }

    models = [values() for _ in range(200)]
    for name in TASKS:
        of_task = [model[name] for model in models]
        error = np.std(of_task, ddof=1) / math.sqrt(200)
        assert abs(np.mean(of_task) - stated_chance(name, 5)) < 3 * error, name


@every_size
def test_the_same_seed_asks_the_same(classes: int) -> None:
    one, same = suite_of(classes), build_suite(data_of(classes), EVAL_FOLDS, settings(classes))
    other = build_suite(data_of(classes), EVAL_FOLDS, settings(classes, seed=1))
    assert one.captions == same.captions
    np.testing.assert_array_equal(one.composites.rows(), same.composites.rows())
    for name, task in one.tasks.items():
        for field in ("windows", "candidates", "right", "clips", "classes"):
            np.testing.assert_array_equal(getattr(task, field), getattr(same.tasks[name], field))
    assert not np.array_equal(one.composites.rows(), other.composites.rows())
    assert not np.array_equal(one.tasks["4A"].candidates, other.tasks["4A"].candidates)


@every_size
@every_task
def test_no_candidate_is_right_and_wrong(name: str, classes: int) -> None:
    """Candidates are read as text: what is right, what is an own wrong one, what is a distractor."""
    suite, data = suite_of(classes), data_of(classes)
    task = suite.tasks[name]
    items = range(0, len(task.right), max(1, len(task.right) // 300))
    for item in items:
        i, j = names_heard(classes, name, item)
        texts = [suite.captions[c] for c in task.candidates[item]]
        assert len(set(texts)) == len(texts)
        right = {text for text, ok in zip(texts, task.right[item], strict=True) if ok}
        assert right == right_captions(name, i, j)
        own = own_captions(name, i, j, data.class_names, texts)
        assert own <= set(texts)
        absent = set(data.class_names) - {i, j}
        for distractor in set(texts) - own:
            first, second = distractor.removeprefix("Simultaneous sound of ").split(
                " and " if name.startswith("5B") else " before " if " before " in distractor else " while "
            )
            assert first != second
            assert {first, second} & absent
            if name in HARD_COLUMNS:
                assert len({first, second} & {i, j}) == 1
            assert {first, second} <= set(data.class_names)


@every_size
@every_task
def test_windows_hold_what_the_task_says(name: str, classes: int) -> None:
    suite, data = suite_of(classes), data_of(classes)
    task = suite.tasks[name]
    rows = suite.composites.rows()[task.windows]
    np.testing.assert_array_equal(data.class_ids[task.clips], task.classes)
    if name == "1":
        kind, heard = SINGLE, task.clips
    elif name in ("2C", "2D", "3B", "4B", "5B", "5B_both", "4B_hard"):
        kind, heard = OVERLAY, np.sort(task.clips, axis=1)
    else:
        kind, heard = JOIN, task.clips
    assert set(rows[:, 0]) == {kind}
    np.testing.assert_array_equal(rows[:, 1:3], heard)
    assert (rows[:, 7] == NO_NOISE).all()


@every_size
def test_no_training_clip_is_evaluated(classes: int) -> None:
    suite, data = suite_of(classes), data_of(classes)
    heard = np.union1d(suite.composites.first, suite.composites.second)
    assert set(data.folds[heard]) == set(EVAL_FOLDS)
    for name, task in suite.tasks.items():
        assert set(data.folds[task.clips.ravel()]) == set(EVAL_FOLDS), name


@every_size
@every_task
def test_items_and_candidates_are_as_many_as_stated(name: str, classes: int) -> None:
    task, pairs = suite_of(classes).tasks[name], math.comb(classes, 2) * TAKES[classes]
    joined = name in ("2A", "2B", "3A", "3A_order", "4A", "5A", "5A_both", "4A_hard")
    n = 3 * classes if name == "1" else 2 * pairs if joined else pairs
    k = {"3A": 3, "3B": 3, "3A_order": 2, "5A": 4, "5A_both": 4}.get(name, classes)
    if name in ("4A", "4B"):
        k = {5: 39, 10: 50, 50: 50}[classes]
    if name in HARD_COLUMNS:
        k = {5: 27, 10: 50, 50: 50}[classes]
    if name.startswith("5B"):
        k = {5: 20, 10: 50, 50: 50}[classes]
    assert task.right.shape == task.candidates.shape == (n, k)
    assert len(task.windows) == len(task.clips) == len(task.classes) == n


@every_size
def test_every_clip_is_heard_alone_once(classes: int) -> None:
    data, task = data_of(classes), suite_of(classes).tasks["1"]
    assert sorted(task.clips[:, 0]) == data.clips_in(EVAL_FOLDS).tolist()


def test_f_is_heard_in_both_orders() -> None:
    task = suite_of(10).tasks["3A"]
    heard = {tuple(pair) for pair in task.clips.tolist()}
    assert heard == {(b, a) for a, b in heard}
    per_pair = dict.fromkeys(itertools.permutations(range(10), 2), 0)
    for i, j in task.classes.tolist():
        per_pair[i, j] += 1
    assert set(per_pair.values()) == {TAKES[10]}


def test_distractors_of_an_item_do_not_depend_on_the_others() -> None:
    """All captions with an absent class are drawn equally often."""
    suite = suite_of(50)
    drawn = suite.tasks["4A"].candidates[:, 3:]
    counts = np.bincount(drawn.ravel(), minlength=len(suite.captions))
    pool = [r for r, caption in enumerate(suite.captions) if " before " in caption or " while " in caption]
    assert len(pool) == 2 * 50 * 49
    assert counts.sum() == counts[pool].sum() == drawn.size
    expected = drawn.size / len(pool)
    assert abs(counts[pool].mean() - expected) < 1e-9
    # Poisson counts: their variance is their mean, here to within 5 of its standard errors
    assert counts[pool].var() == pytest.approx(expected, rel=5 * math.sqrt(2 / len(pool)))


def test_unseen_classes_are_scored_apart() -> None:
    suite, rng = suite_of(5), np.random.default_rng(0)
    audio = rng.standard_normal((len(suite.composites), 8))
    text = rng.standard_normal((len(suite.captions), 8))
    plain = score_suite(suite, audio, text)
    scores = score_suite(suite, audio, text, unseen_classes=[2])
    assert scores.keys() == plain.keys() | {f"unseen/{name}" for name in TASKS} | {"order/unseen"}
    assert all(scores[name] == plain[name] for name in TASKS)
    assert scores["unseen/1"].n == 3
    assert scores["unseen/3A"].n == 2 * 4 * TAKES[5]
    task = suite.tasks["3A"]
    touched = (task.classes == 2).any(axis=1)
    similarity = np.take_along_axis(audio[task.windows] @ text.T, task.candidates, axis=1)
    assert scores["unseen/3A"].value == pytest.approx(100 * credit(similarity, task.right, "top1")[touched].mean())


def test_scores_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    suite, rng = suite_of(5), np.random.default_rng(1)
    audio = rng.standard_normal((len(suite.composites), 8))
    text = rng.standard_normal((len(suite.captions), 8))
    whole = score_suite(suite, audio, text)
    monkeypatch.setattr("tclap.evaluation.items.SCORE_BATCH", 7)
    assert score_suite(suite, audio, text) == whole


def test_summary_means_eleven_and_four_columns() -> None:
    scores = {name: Score(float(n), 0, 100, 1, 50) for n, name in enumerate(TASKS)}
    assert summary(scores) == {"mean": 5.0, "temporal": 6.5}
    order = {"order/moved": Score(80, 0, 100, 1, 50), "order/paired": Score(70, 0, 100, 1, 25)}
    assert summary(scores | order) == {"mean": 5.0, "temporal": 6.5, "order": 75.0}


def test_prompts_are_averaged_as_clip_does() -> None:
    """Candidates of tasks 1 and 2 are the normalised means of a class's prompts; other tasks do not change."""
    prompts = ("The sound of {}", "this is a sound of {}")
    data, plain = data_of(5), suite_of(5)
    suite = build_suite(data, EVAL_FOLDS, settings(5).model_copy(update={"prompts": prompts}))
    rng = np.random.default_rng(0)
    vectors = {text: rng.standard_normal(8) for text in suite.captions}
    text = np.stack([vectors[t] / np.linalg.norm(vectors[t]) for t in suite.captions])
    audio = rng.standard_normal((len(suite.composites), 8))
    scores = score_suite(suite, audio, text)
    row_of = {caption: row for row, caption in enumerate(suite.captions)}
    means = np.stack([sum(text[row_of[p.format(name)]] for p in prompts) for name in data.class_names])
    task = suite.tasks["1"]
    similarity = audio[task.windows] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    assert scores["1"].value == pytest.approx(100 * credit(similarity, task.right, "top1").mean())
    alone = score_suite(plain, audio, np.stack([text[row_of[caption]] for caption in plain.captions]))
    assert alone["3A"] == scores["3A"]
    assert alone["order/moved"] == scores["order/moved"]


def test_another_single_prompt_takes_the_place_of_the_default() -> None:
    suite = build_suite(data_of(5), EVAL_FOLDS, settings(5).model_copy(update={"prompts": ("this is a sound of {}",)}))
    assert len(suite.averaged) == 0
    texts = [suite.captions[row] for row in suite.tasks["1"].candidates[0]]
    assert texts == [f"this is a sound of {name}" for name in data_of(5).class_names]


def test_intervals_are_over_recordings() -> None:
    """The same answers with every two clips from one recording: the value is the same, the interval wider."""
    data = data_of(10)
    shared = dataclasses.replace(data, recordings=data.class_ids * 100 + data.folds)
    apart, together = (build_suite(d, EVAL_FOLDS, settings(10)) for d in (data, shared))
    rng = np.random.default_rng(0)
    easy = rng.standard_normal(10)[data.class_ids]  # a class is easy or hard, and so is its recording
    audio = rng.standard_normal((len(apart.composites), 8)) + easy[apart.composites.first, None]
    text = rng.standard_normal((len(apart.captions), 8))
    one, other = score_suite(apart, audio, text), score_suite(together, audio, text)
    for name in ("1", "3A", "order/moved"):
        assert one[name].value == other[name].value
        assert other[name].high - other[name].low > one[name].high - one[name].low
