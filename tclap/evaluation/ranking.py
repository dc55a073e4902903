"""Credit for the top of a ranking, with ties shared: its expectation under a random order of the tied.

So a constant model scores exactly chance. Shapes: n items, K candidates.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Rule = Literal["top1", "both", "at_least_one", "half_credit"]

# Similarities are rounded to this before they are ranked: float32 noise (about 1e-7) would else break the ties of a
# constant model. Rounding, unlike a tolerance, keeps "tied" transitive, so the credits of all candidates add up.
DECIMALS = 6


def credit(similarity: np.ndarray, right: np.ndarray, rule: Rule) -> np.ndarray:
    """[n] credit in 0..1 of each item.

    similarity, right [n, K]. "top1": the best candidate is right. The other rules look at the best two and need
    exactly two right candidates an item: both right; at least one; one half for each.
    Raises ValueError on NaN, which has no rank.
    """
    if np.isnan(similarity).any():
        raise ValueError("similarity is NaN: the model's embeddings are not finite")
    s = np.round(similarity.astype(np.float64), DECIMALS)
    if rule == "top1":
        columns = np.argmax(right, axis=1)
        return _in_top(s, s[np.arange(len(s)), columns], 1)
    first, second = np.argsort(~right, axis=1, kind="stable")[:, :2].T
    items = np.arange(len(s))
    a, b = s[items, first], s[items, second]
    a, b = np.maximum(a, b), np.minimum(a, b)
    chance_a, chance_b = _in_top(s, a, 2), _in_top(s, b, 2)
    if rule == "half_credit":
        return (chance_a + chance_b) / 2
    both = _both_in_top_two(s, a, b)
    return both if rule == "both" else chance_a + chance_b - both


def _above_and_tied(s: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (s > value[:, None]).sum(1), (s == value[:, None]).sum(1)


def _in_top(s: np.ndarray, value: np.ndarray, m: int) -> np.ndarray:
    """Probability that a candidate of this value is among the best m."""
    above, tied = _above_and_tied(s, value)
    return np.clip((m - above) / tied, 0.0, 1.0)


def _both_in_top_two(s: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Probability that two candidates of values a >= b are the best two."""
    above_a, tied_a = _above_and_tied(s, a)
    above_b, tied_b = _above_and_tied(s, b)
    equal = np.where(above_a == 0, 2.0 / np.maximum(tied_a * (tied_a - 1), 1), 0.0)
    apart = np.where((above_a == 0) & (tied_a == 1) & (above_b == 1), 1.0 / tied_b, 0.0)
    return np.where(a == b, equal, apart)
