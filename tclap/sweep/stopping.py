"""Which trials need not go on: the rule of `--stop-early`, as a function of scores alone. No Ray, no Optuna.

A trial stops at a rung (a fifth of stage B's steps, and three times that) unless it is among the best third of all
that reached the rung, in the order of non-dominated sorting: asynchronous successive halving for several objectives
(MO-ASHA, Schmucker and others 2021). A front that begins within the third goes on as a whole, so that nothing on the
front of a rung is ever stopped. A trial stops at any step that is scored if a guard fails by its whole interval.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tclap.errors import InputError
from tclap.evaluation.statistics import Score

ETA = 3  # one in so many goes on from each rung; and so many times as far is the next one
FIRST_RUNG = 5  # at this part of a stage: before, whatever learns order is still at chance, and noise would choose
SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
GUARD = re.compile(r"\s*([^<>=\s]+)\s*(>=|<=|>|<)\s*([+-]?\d+(?:\.\d+)?)\s*")


@dataclass(frozen=True)
class Guard:
    """What must hold besides, such as zste/1>=70."""

    metric: str
    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.bound:g}"


def parse_guard(text: str) -> Guard:
    """ "zste/1>=70" -> Guard. Raises InputError for anything but METRIC, one of >= <= > <, and a number."""
    match = GUARD.fullmatch(text)
    if match is None:
        raise InputError(f"guard {text!r}: write METRIC>=NUMBER (or <=, >, <), such as zste/1>=70")
    return Guard(match[1], match[2], float(match[3]))


def fails(guard: Guard, scores: Mapping[str, Score]) -> bool:
    """Whether the guard does not hold anywhere in the score's 95% interval; False if there is no such score."""
    score = scores.get(guard.metric.removeprefix("zste/"))
    if score is None:
        return False
    return not any(SIGNS[guard.sign](end, guard.bound) for end in (score.low, score.high))


def first_rung(steps: int) -> int:
    """After how many of a stage's steps trials are compared first."""
    return max(1, steps // FIRST_RUNG)


def rung_of(step: int, steps: int) -> int | None:
    """The number of the rung at which a trial of so many steps is after `step` of them, from 0 up; None is none.

    A rung is a part of the stage: trials of different lengths are compared after the same part of their steps.
    """
    rung, at = 0, first_rung(steps)
    while at < min(step, steps):
        rung, at = rung + 1, at * ETA
    return rung if at == step < steps else None


def goes_on(own: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Whether a trial is among the best third of itself and `others`, all at the same rung; higher is better.

    own [objectives], others [trials, objectives]. Of the same values it always says the same.
    """
    values = np.array([own, *others], float)
    places = math.ceil(len(values) / ETA)
    if np.isnan(values[0]).any() or dominators(values, values[:1]).sum() >= places:  # each is on a front before its own
        return False
    dominated = dominators(values, values)  # [trials, those that may dominate them]
    left = ~np.isnan(values).any(axis=1)
    while places > 0:
        front = left & ~(dominated & left).any(axis=1)
        if front[0]:
            return True
        places -= int(front.sum())
        left &= ~front
    return False


def dominators(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    """[m, n] bool: which rows of `values` [n, objectives] dominate each row of `of` [m, objectives]; NaN none."""
    at_least, better = np.ones((len(of), len(values)), bool), np.zeros((len(of), len(values)), bool)
    for own, all_values in zip(of.T, values.T, strict=True):
        at_least &= all_values >= own[:, None]
        better |= all_values > own[:, None]
    return at_least & better


def pareto_front(values: np.ndarray) -> np.ndarray:
    """[n] bool: rows of values [n, objectives] that no other row dominates; NaN is never on the front."""
    front = np.zeros(len(values), bool)
    kept = values[:0]
    for n in np.lexsort(-values.T[::-1]):  # what dominates a row comes before it
        dominated = (kept >= values[n]).all(axis=1) & (kept > values[n]).any(axis=1)
        if not dominated.any() and not np.isnan(values[n]).any():
            front[n] = True
            kept = np.vstack([kept, values[n]])
    return front
