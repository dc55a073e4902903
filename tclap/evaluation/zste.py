"""ZSTE, tasks 1-5: the items, their candidates and their scores (design 6; the paper's appendix A5).

A `Suite` is made from the dataset and a seed alone, so every model is asked the same questions.

Shapes: n items of a task, K candidates, C classes, W windows, Q captions, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tclap.config import DataSettings
from tclap.data import captions, compose
from tclap.data.dataset import Dataset
from tclap.data.draws import PairDraws, draw_pairs, draw_timings
from tclap.evaluation.items import CaptionRows, Suite, Task, candidate_embeddings, task_credit
from tclap.evaluation.order import item_cases, order_items, order_scores
from tclap.evaluation.ranking import Rule
from tclap.evaluation.statistics import Score, cluster_difference, cluster_wilson

COLUMNS = ("1", "2A", "2B", "2C", "2D", "3A", "3B", "4A", "4B", "5A", "5B")
EXTRA_COLUMNS = ("3A_order", "5A_both", "5B_both")
HARD_COLUMNS = ("4A_hard", "4B_hard")
TEMPORAL = ("3A", "3B", "4A", "4B")
ORDER = ("order/moved", "order/paired")
# Metrics that have an interval of their own, unlike the means over columns.
SCORED = (*(f"zste/{name}" for name in (*COLUMNS, *EXTRA_COLUMNS, *HARD_COLUMNS)), *ORDER, "order/bias")
BOUNDS = ("zste_low/", "zste_high/")  # what the metrics of an interval's ends begin with
CANDIDATES = 50  # of tasks 4 and 5B, if the captions suffice


def build_suite(dataset: Dataset, folds: Sequence[int], data: DataSettings) -> Suite:
    """The suite over the clips of `folds`: every clip for task 1, every class pair x `eval_takes` for tasks 2 to 5, and
    the fixed grid of timings for order.

    Of `data` it takes eval_takes, draw_seed, timing and prompts.
    """
    names, seed = dataset.class_names, data.draw_seed
    classes = np.arange(len(names))
    clips = dataset.clips_in(folds)
    draws = draw_pairs(dataset, folds, classes, data.eval_takes, seed, timing=data.timing, purpose="evaluation")
    first, second = draws.clips[..., 0].ravel(), draws.clips[..., 1].ravel()
    timing, alone = draws.timing.reshape(-1, 4), draws.alone.reshape(-1, 4)
    row = CaptionRows()
    prompts, averaged = _class_prompts(names, data.prompts, row)
    moved, order = order_items(dataset, folds, data, row)
    rows = [
        compose.single(clips, draw_timings((len(clips),), seed, data.timing, "alone")[1]),
        compose.join(first, second, timing),
        compose.join(second, first, timing),
        compose.overlay(first, second, alone),
        moved,
    ]
    composites, index = compose.unique_composites(np.concatenate(rows))
    singles, forward, backward, over, order_windows = np.split(index, np.cumsum([len(r) for r in rows])[:-1])
    joined = np.concatenate([forward, backward])
    tasks = _single_tasks(dataset, draws, clips, singles, joined, over, prompts)
    tasks |= _temporal_tasks(draws, names, joined, over, row, seed)
    tasks |= _prompt_tasks(draws, names, joined, over, row, seed)
    captions_first = len(row.row_of)
    for name in ("1", "2A", "2B", "2C", "2D"):  # averaged captions come after all others, whose number is known now
        if len(averaged):
            tasks[name] = replace(tasks[name], candidates=tasks[name].candidates + captions_first)
    return Suite(
        composites,
        tuple(row.row_of),
        averaged,
        {name: tasks[name] for name in (*COLUMNS, *EXTRA_COLUMNS, *HARD_COLUMNS)},
        replace(order, windows=order_windows),
        item_cases(moved),
        dataset.recordings,
    )


def _class_prompts(names: tuple[str, ...], prompts: Sequence[str], row: CaptionRows) -> tuple[np.ndarray, np.ndarray]:
    """Candidates [C] of tasks 1 and 2, and which captions [C, prompts] they average.

    With one prompt, they are captions, and nothing is averaged; with more, they are rows among the averaged ones.
    """
    texts = np.array([[row(prompt.format(name)) for prompt in prompts] for name in names])  # [C, prompts]
    return (texts[:, 0], np.empty((0, 1), np.int64)) if len(prompts) == 1 else (np.arange(len(names)), texts)


def _joined(draws: PairDraws, field: str) -> np.ndarray:
    """[2m, 2] clips or classes of the f items in both orders: m forward, then m reversed."""
    forward = getattr(draws, field).reshape(-1, 2)
    return np.concatenate([forward, forward[:, ::-1]])


def _single_tasks(
    dataset: Dataset,
    draws: PairDraws,
    clips: np.ndarray,
    singles: np.ndarray,
    joined: np.ndarray,
    over: np.ndarray,
    prompts: np.ndarray,
) -> dict[str, Task]:
    """Tasks 1 and 2: which of the C classes sound? prompts [C]: the candidates."""
    n_classes = len(dataset.class_names)
    pairs = math.comb(n_classes, 2)
    both, any_of = 1 / pairs, 1 - math.comb(n_classes - 2, 2) / pairs

    def task(windows: np.ndarray, clip: np.ndarray, heard: np.ndarray, rule: Rule, chance: float) -> Task:
        candidates = np.broadcast_to(prompts, (len(windows), n_classes))
        right = (np.arange(n_classes) == heard[..., None]).any(axis=1)  # [n, C]
        return Task(windows, candidates, right, rule, chance, clip, heard)

    alone = np.repeat(clips[:, None], 2, axis=1)
    f_clips, f_classes = _joined(draws, "clips"), _joined(draws, "classes")
    o_clips, o_classes = draws.clips.reshape(-1, 2), draws.classes.reshape(-1, 2)
    return {
        "1": task(singles, alone, dataset.class_ids[alone], "top1", 1 / n_classes),
        "2A": task(joined, f_clips, f_classes, "both", both),
        "2B": task(joined, f_clips, f_classes, "at_least_one", any_of),
        "2C": task(over, o_clips, o_classes, "both", both),
        "2D": task(over, o_clips, o_classes, "at_least_one", any_of),
    }


def _temporal_tasks(
    draws: PairDraws, names: tuple[str, ...], joined: np.ndarray, over: np.ndarray, row: CaptionRows, seed: int
) -> dict[str, Task]:
    """Tasks 3 and 4: in which order, or at once? Alone (3) and among captions with an absent class (4)."""
    ordered = [(i, j) for i in range(len(names)) for j in range(len(names)) if i != j]
    before = np.full((len(names), len(names)), -1)
    overlaid = before.copy()
    for i, j in ordered:
        before[i, j] = row(captions.before(names[i], names[j]))
        overlaid[i, j] = row(captions.overlaid(names[i], names[j]))
    pool = np.sort(np.concatenate([before[before >= 0], overlaid[overlaid >= 0]]))
    i, j = draws.classes.reshape(-1, 2).T  # [m] as in f
    three = np.stack([before[i, j], before[j, i], overlaid[i, j]], axis=1)  # [m, 3]
    present = np.concatenate([three, overlaid[j, i][:, None]], axis=1)  # [m, 4] captions without an absent class
    m = len(three)
    f_clips, f_classes = _joined(draws, "clips"), _joined(draws, "classes")
    o_clips, o_classes = draws.clips.reshape(-1, 2), draws.classes.reshape(-1, 2)
    f_answer = np.repeat([0, 1], m)  # f is "i before j", reversed is "j before i"
    o_answer = np.full(m, 2)

    def right(answer: np.ndarray, k: int) -> np.ndarray:
        return np.arange(k) == answer[:, None]

    three_twice, present_twice = np.tile(three, (2, 1)), np.tile(present, (2, 1))
    many_f = _with_distractors(three_twice, present_twice, pool, CANDIDATES, seed, task_number=4)
    many_o = _with_distractors(three, present, pool, CANDIDATES, seed, task_number=5)
    hard_f = _with_hard_distractors(three_twice, f_classes, before, overlaid, seed, task_number=7)
    hard_o = _with_hard_distractors(three, o_classes, before, overlaid, seed, task_number=8)
    k, h = many_o.shape[1], hard_o.shape[1]
    third, kth, hth = 1 / 3, 1 / k, 1 / h
    return {
        "3A": Task(joined, three_twice, right(f_answer, 3), "top1", third, f_clips, f_classes),
        "3A_order": Task(joined, three_twice[:, :2], right(f_answer, 2), "top1", 1 / 2, f_clips, f_classes),
        "3B": Task(over, three, right(o_answer, 3), "top1", third, o_clips, o_classes),
        "4A": Task(joined, many_f, right(f_answer, k), "top1", kth, f_clips, f_classes),
        "4B": Task(over, many_o, right(o_answer, k), "top1", kth, o_clips, o_classes),
        "4A_hard": Task(joined, hard_f, right(f_answer, h), "top1", hth, f_clips, f_classes),
        "4B_hard": Task(over, hard_o, right(o_answer, h), "top1", hth, o_clips, o_classes),
    }


def _prompt_tasks(
    draws: PairDraws, names: tuple[str, ...], joined: np.ndarray, over: np.ndarray, row: CaptionRows, seed: int
) -> dict[str, Task]:
    """Task 5: prompts never seen in training."""
    place = np.array([[row(captions.concatenated(p, name)) for name in names] for p in ("first", "second")])  # [2, C]
    at_once = np.full((len(names), len(names)), -1)
    for i, j in np.ndindex(at_once.shape):
        if i != j:
            at_once[i, j] = row(captions.simultaneous(names[i], names[j]))
    f_clips, f_classes = _joined(draws, "clips"), _joined(draws, "classes")
    o_clips, o_classes = draws.clips.reshape(-1, 2), draws.classes.reshape(-1, 2)
    i, j = f_classes.T
    four = np.stack([place[0, i], place[1, i], place[0, j], place[1, j]], axis=1)
    right_four = np.broadcast_to([True, False, False, True], four.shape)
    both_orders = np.stack([at_once[o_classes[:, 0], o_classes[:, 1]], at_once[o_classes[:, 1], o_classes[:, 0]]], 1)
    many = _with_distractors(both_orders, both_orders, np.sort(at_once[at_once >= 0]), CANDIDATES, seed, task_number=6)
    k = many.shape[1]
    right_many = np.broadcast_to(np.arange(k) < 2, many.shape)
    ask_f = Task(joined, four, right_four, "half_credit", 1 / 2, f_clips, f_classes)
    ask_o = Task(over, many, right_many, "half_credit", 2 / k, o_clips, o_classes)
    return {
        "5A": ask_f,
        "5A_both": replace(ask_f, rule="both", chance=1 / 6),
        "5B": ask_o,
        "5B_both": replace(ask_o, rule="both", chance=1 / math.comb(k, 2)),
    }


def _with_distractors(
    own: np.ndarray, present: np.ndarray, pool: np.ndarray, k: int, seed: int, task_number: int
) -> np.ndarray:
    """[n, K] candidates: `own` [n, own], then distractors drawn without replacement from `pool` less `present`.

    Seeded per item, so an item's candidates do not depend on the others. Where the pool has too few, all of it.
    """
    excluded = np.sort(np.searchsorted(pool, present), axis=1)  # [n, e] positions in the sorted pool
    free = len(pool) - excluded.shape[1]
    wanted = min(k - own.shape[1], free)
    drawn = np.empty((len(own), wanted), np.int64)
    for item in range(len(own)):
        rng = np.random.default_rng([seed, task_number, item])
        drawn[item] = rng.choice(free, wanted, replace=False)
    for column in range(excluded.shape[1]):  # positions among the free -> positions in the pool
        drawn += drawn >= excluded[:, column, None]
    return np.concatenate([own, pool[drawn]], axis=1)


def _with_hard_distractors(
    own: np.ndarray, classes: np.ndarray, before: np.ndarray, overlaid: np.ndarray, seed: int, task_number: int
) -> np.ndarray:
    """[n, K] candidates: `own` [n, 3], which hold the reversed caption, then distractors that share one class with the
    clip, as the released code has them. classes [n, 2]; before, overlaid [C, C]: rows of the captions.

    Seeded per item and drawn without replacement; all of them if they are too few.
    """
    n_classes = len(before)
    free = 8 * (n_classes - 2)  # either class with each other one, in two orders, before and while
    wanted = min(CANDIDATES - own.shape[1], free)
    drawn = np.empty((len(own), wanted), np.int64)
    for item in range(len(own)):
        drawn[item] = np.random.default_rng([seed, task_number, item]).choice(free, wanted, replace=False)
    # A number below `free` says: which of the two classes, which other class, in which order, before or while.
    kind, rest = np.divmod(drawn, 4 * (n_classes - 2))
    swapped, rest = np.divmod(rest, 2 * (n_classes - 2))
    side, absent = np.divmod(rest, n_classes - 2)
    low, high = np.sort(classes, axis=1).T[..., None]
    absent += absent >= low
    absent += absent >= high
    shared = np.take_along_axis(classes, side, axis=1)
    first, second = np.where(swapped, absent, shared), np.where(swapped, shared, absent)
    return np.concatenate([own, np.where(kind, overlaid[first, second], before[first, second])], axis=1)


def suite_credits(suite: Suite, audio: np.ndarray, text: np.ndarray) -> dict[str, np.ndarray]:
    """Credit in 0..1 of each item: an array for each task, and "order" for the order items.

    audio [W, D], text [Q, D]: L2-normalised embeddings of the suite's composites and captions.
    """
    candidates = candidate_embeddings(suite, text)
    tasks = {**suite.tasks, "order": suite.order}
    return {name: task_credit(task, audio, candidates) for name, task in tasks.items()}


def scores_of(
    suite: Suite, credits: dict[str, np.ndarray], unseen_classes: Sequence[int] | np.ndarray = ()
) -> dict[str, Score]:
    """Every column from the credits of its items, with its interval over recordings.

    With `unseen_classes` also "unseen/<column>" and "order/unseen" over the items that touch one of them.
    """
    scores = {}
    for name, task in suite.tasks.items():
        recordings = suite.recordings[task.clips]
        scores[name] = cluster_wilson(credits[name], recordings, task.chance)
        touched = np.isin(task.classes, unseen_classes).any(axis=1)
        if touched.any():
            scores[f"unseen/{name}"] = cluster_wilson(credits[name][touched], recordings[touched], task.chance)
    return scores | order_scores(suite, credits["order"], unseen_classes)


def difference_scores(suite: Suite, one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, Score]:
    """What one model got less what another got, item by item, for each column, order/moved and order/paired."""
    scores = {
        name: cluster_difference(one[name] - other[name], suite.recordings[task.clips])
        for name, task in suite.tasks.items()
    }
    recordings = suite.recordings[suite.order.clips]
    scores["order/moved"] = cluster_difference(one["order"] - other["order"], recordings)
    paired = one["order"][::2] * one["order"][1::2] - other["order"][::2] * other["order"][1::2]
    scores["order/paired"] = cluster_difference(paired, recordings[::2])
    return scores


def score_suite(
    suite: Suite, audio: np.ndarray, text: np.ndarray, unseen_classes: Sequence[int] | np.ndarray = ()
) -> dict[str, Score]:
    """Every column, and with `unseen_classes` those over the items that touch one of them (see `scores_of`)."""
    return scores_of(suite, suite_credits(suite, audio, text), unseen_classes)


def metric_values(scores: Mapping[str, Score], prefix: str = "zste") -> dict[str, float]:
    """Every score and mean in percent by its metric's name: zste/3A, zste/order, order/moved, or PREFIX/order/moved."""
    values = {f"{prefix}/{name}": value for name, value in summary(scores).items()}
    for name, score in scores.items():
        own = prefix == "zste" and name.startswith("order/")  # order/moved and so on have a place of their own
        values[name if own else f"{prefix}/{name}"] = score.value
    return values


def bound_values(scores: Mapping[str, Score], prefix: str = "zste") -> dict[str, float]:
    """Both ends of each score's 95% interval: zste_low/3A, zste_high/order/moved and so on."""
    lows = {f"{prefix}_low/{name}": score.low for name, score in scores.items()}
    return lows | {f"{prefix}_high/{name}": score.high for name, score in scores.items()}


def summary(scores: Mapping[str, Score]) -> dict[str, float]:
    """Means in percent: "mean" over the eleven columns, "temporal" over 3A, 3B, 4A, 4B, "order" over moved and paired.

    Scores of an older version have no order.
    """
    means = {
        "mean": float(np.mean([scores[c].value for c in COLUMNS])),
        "temporal": float(np.mean([scores[c].value for c in TEMPORAL])),
    }
    if all(name in scores for name in ORDER):
        means["order"] = float(np.mean([scores[name].value for name in ORDER]))
    return means
