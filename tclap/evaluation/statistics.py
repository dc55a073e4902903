"""Values with 95% intervals: Wilson for independent items, a bootstrap over clips where clips recur in items."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 1000


@dataclass(frozen=True)
class Score:
    """A mean credit, its 95% interval and its chance level in percent, over n items."""

    value: float
    low: float
    high: float
    n: int
    chance: float


def wilson(credit: np.ndarray, chance: float) -> Score:
    """Score of n independent items; credit [n] in 0..1 (shared ties are rounded to whole successes)."""
    successes = round(float(credit.sum()))
    interval = stats.binomtest(successes, len(credit)).proportion_ci(0.95, method="wilson")
    return _percent(credit.mean(), interval.low, interval.high, len(credit), chance)


def clip_bootstrap(credit: np.ndarray, clips: np.ndarray, chance: float, seed: int = 0) -> Score:
    """Score of n items whose clips recur; credit [n], clips [n, 2].

    Clips are resampled, and an item counts as often as the product of its two clips' counts: items are not
    independent where they share a clip, so resampling items would give intervals that are too narrow.
    """
    ids, numbered = np.unique(clips, return_inverse=True)
    numbered = numbered.reshape(clips.shape)  # [n, 2]
    mean = float(credit.mean())

    def weighted_mean(resample: np.ndarray, axis: int = -1) -> np.ndarray:
        flat = np.moveaxis(resample, axis, -1).reshape(-1, len(ids)).astype(np.int64)
        offset = np.arange(len(flat))[:, None] * len(ids)
        counts = np.bincount((flat + offset).ravel(), minlength=flat.shape[0] * len(ids)).reshape(-1, len(ids))
        weights = (counts[:, numbered[:, 0]] * counts[:, numbered[:, 1]]).astype(np.float64)
        total = weights.sum(1)
        # A resample that holds no item at all (only where clips are very few) says nothing: take the mean.
        out = np.where(total > 0, weights @ credit / np.maximum(total, 1), mean)
        return out.reshape(np.moveaxis(resample, axis, -1).shape[:-1])

    if np.ptp(credit) == 0:
        return _percent(mean, mean, mean, len(credit), chance)
    result = stats.bootstrap(
        (np.arange(len(ids)),),
        weighted_mean,
        n_resamples=RESAMPLES,
        batch=100,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    interval = result.confidence_interval
    return _percent(mean, interval.low, interval.high, len(credit), chance)


def t_half_width(values: np.ndarray) -> float:
    """Half of the 95% t-interval of the mean of `values` [n], such as one score's over seeds; NaN where n < 2."""
    if len(values) < 2:
        return math.nan
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def _percent(value: float, low: float, high: float, n: int, chance: float) -> Score:
    return Score(100 * float(value), 100 * float(low), 100 * float(high), n, 100 * chance)
