"""ZSTE, tasks 1-5: the items, their candidates and their scores (design 6; the paper's appendix A5).

A `Suite` is made from the dataset and a seed alone, so every model is asked the same questions.

Shapes: n items of a task, K candidates, C classes, W windows, Q captions, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tclap.data import captions, compose
from tclap.data.compose import Composites
from tclap.data.dataset import Dataset
from tclap.data.draws import PairDraws, draw_pairs
from tclap.evaluation.ranking import Rule, credit
from tclap.evaluation.statistics import Score, clip_bootstrap, wilson

COLUMNS = ("1", "2A", "2B", "2C", "2D", "3A", "3B", "4A", "4B", "5A", "5B")
EXTRA_COLUMNS = ("3A_order", "5A_both", "5B_both")
TEMPORAL = ("3A", "3B", "4A", "4B")
CANDIDATES = 50  # of tasks 4 and 5B, where the captions suffice
SCORE_BATCH = 64  # items whose candidates' embeddings [n, K, D] are gathered at once: they should fit a CPU's cache


@dataclass(frozen=True)
class Task:
    """n questions: which of K captions fit this window?"""

    windows: np.ndarray  # [n] row among the suite's composites
    candidates: np.ndarray  # [n, K] row among the suite's captions
    right: np.ndarray  # [n, K] bool
    rule: Rule
    chance: float
    clips: np.ndarray  # [n, 2] the clips heard
    classes: np.ndarray  # [n, 2] their classes


@dataclass(frozen=True)
class Suite:
    """All tasks over one dataset and its folds."""

    composites: Composites
    captions: tuple[str, ...]
    tasks: dict[str, Task]


class _Captions:
    """Caption -> row, in order of first use."""

    def __init__(self) -> None:
        self.row_of: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.row_of.setdefault(text, len(self.row_of))


def build_suite(dataset: Dataset, folds: Sequence[int], eval_takes: int, seed: int) -> Suite:
    """The suite over the clips of `folds`: every clip for task 1, every class pair x `eval_takes` for the rest."""
    names = dataset.class_names
    n_classes = len(names)
    clips = dataset.clips_in(folds)
    draws = draw_pairs(dataset, folds, np.arange(n_classes), eval_takes, seed)
    first, second = draws.clips[..., 0].ravel(), draws.clips[..., 1].ravel()
    rows = [
        compose.single(clips),
        compose.join(first, second),
        compose.join(second, first),
        compose.overlay(first, second),
    ]
    composites, index = compose.unique_composites(np.concatenate(rows))
    singles, forward, backward, over = np.split(index, np.cumsum([len(r) for r in rows])[:-1])
    row = _Captions()
    tasks = _single_tasks(dataset, draws, clips, singles, np.concatenate([forward, backward]), over, row)
    tasks |= _temporal_tasks(draws, names, np.concatenate([forward, backward]), over, row, seed)
    tasks |= _prompt_tasks(draws, names, np.concatenate([forward, backward]), over, row, seed)
    return Suite(composites, tuple(row.row_of), {name: tasks[name] for name in (*COLUMNS, *EXTRA_COLUMNS)})


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
    row: _Captions,
) -> dict[str, Task]:
    """Tasks 1 and 2: which of the C classes sound?"""
    n_classes = len(dataset.class_names)
    prompts = np.array([row(captions.single_zste(name)) for name in dataset.class_names])
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
    draws: PairDraws, names: tuple[str, ...], joined: np.ndarray, over: np.ndarray, row: _Captions, seed: int
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
    k = many_o.shape[1]
    third, kth = 1 / 3, 1 / k
    return {
        "3A": Task(joined, three_twice, right(f_answer, 3), "top1", third, f_clips, f_classes),
        "3A_order": Task(joined, three_twice[:, :2], right(f_answer, 2), "top1", 1 / 2, f_clips, f_classes),
        "3B": Task(over, three, right(o_answer, 3), "top1", third, o_clips, o_classes),
        "4A": Task(joined, many_f, right(f_answer, k), "top1", kth, f_clips, f_classes),
        "4B": Task(over, many_o, right(o_answer, k), "top1", kth, o_clips, o_classes),
    }


def _prompt_tasks(
    draws: PairDraws, names: tuple[str, ...], joined: np.ndarray, over: np.ndarray, row: _Captions, seed: int
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


def score_suite(
    suite: Suite, audio: np.ndarray, text: np.ndarray, unseen_classes: Sequence[int] | np.ndarray = ()
) -> dict[str, Score]:
    """Every column, and with `unseen_classes` also "unseen/<column>" over the items that touch one of them.

    audio [W, D], text [Q, D]: L2-normalised embeddings of the suite's composites and captions.
    """
    scores = {}
    for name, task in suite.tasks.items():
        credits = np.concatenate(
            [
                credit(_similarity(task, audio, text, slice(start, start + SCORE_BATCH)), right, task.rule)
                for start, right in (
                    (s, task.right[s : s + SCORE_BATCH]) for s in range(0, len(task.right), SCORE_BATCH)
                )
            ]
        )
        scores[name] = _score(name, credits, task)
        touched = np.isin(task.classes, unseen_classes).any(axis=1)
        if touched.any():
            part = replace(task, clips=task.clips[touched])
            scores[f"unseen/{name}"] = _score(name, credits[touched], part)
    return scores


def _score(name: str, credits: np.ndarray, task: Task) -> Score:
    return wilson(credits, task.chance) if name == "1" else clip_bootstrap(credits, task.clips, task.chance)


def _similarity(task: Task, audio: np.ndarray, text: np.ndarray, items: slice) -> np.ndarray:
    """[n, K] cosines of some items with their candidates."""
    windows = audio[task.windows[items], :, None]  # [n, D, 1]
    cosines: np.ndarray = (text[task.candidates[items]] @ windows)[..., 0]
    return cosines


def summary(scores: dict[str, Score]) -> dict[str, float]:
    """zste/mean over the eleven columns, zste/temporal over 3A, 3B, 4A, 4B, in percent."""
    return {
        "mean": float(np.mean([scores[c].value for c in COLUMNS])),
        "temporal": float(np.mean([scores[c].value for c in TEMPORAL])),
    }
