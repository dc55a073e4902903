"""Values with 95% intervals whose unit is the recording: clips of one recording are not independent (design 6).

Items that share a recording go up and down together, and an item of a pair task has two recordings. So the variance
of a mean is the dyadic cluster-robust one (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015): the products of
the residuals of all items that share at least one recording. A mean of credits is a proportion, so the interval has
Wilson's form, with as many items as would have that variance if they were independent. It has a width even if all items
are right, when a bootstrap gives [100, 100]. A paired difference has the form of Agresti and Min (2005), with as many
items, and a width even if two models answer alike. `benchmarks/interval_coverage.py` shows how often the intervals hold
the truth.

Shapes: n items, G recordings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

# How alike items that share a recording are taken to be, where the data cannot tell since hardly an answer differs from
# the rest: so much of the correlation that they would have at most, with the weight of so many recordings.
PRIOR_CORRELATION = 0.3
PRIOR_RECORDINGS = 4
# Degrees of freedom of Student's t, for each recording less one: one alone is too cautious for a proportion (Wilson's
# form allows for what few items cannot tell already), and the normal's 1.96 too bold below ten recordings.
FREEDOM = 4
ROUNDING = 1e-9  # of a score in percent


@dataclass(frozen=True)
class Score:
    """A mean credit, its 95% interval and its chance level in percent, over n items."""

    value: float
    low: float
    high: float
    n: int
    chance: float


@dataclass(frozen=True)
class _Sharing:
    """Which items share a recording."""

    numbered: np.ndarray  # [n, 2] 0..G-1
    twice: np.ndarray  # [n] bool, items whose two recordings differ
    pair: np.ndarray  # [items of two] number of their unordered pair of recordings
    recordings: int  # G

    @classmethod
    def of(cls, recordings: np.ndarray) -> _Sharing:
        """recordings [n] or [n, 2]."""
        pairs = np.stack([recordings, recordings], axis=1) if recordings.ndim == 1 else recordings
        ids, numbered = np.unique(pairs, return_inverse=True)
        numbered = numbered.reshape(pairs.shape)
        twice = numbered[:, 0] != numbered[:, 1]
        low, high = np.sort(numbered[twice], axis=1).T
        _, pair = np.unique(low * len(ids) + high, return_inverse=True)
        return cls(numbered, twice, pair, len(ids))

    def products(self, values: np.ndarray) -> float:
        """Sum of values[k] * values[l] over all k, l that share at least one recording, k = l among them."""
        of_first = np.bincount(self.numbered[:, 0], values, self.recordings)
        of_second = np.bincount(self.numbered[self.twice, 1], values[self.twice], self.recordings)
        # Two items of the same two recordings were counted once for each.
        both = np.bincount(self.pair, values[self.twice])
        return float(((of_first + of_second) ** 2).sum() - (both**2).sum())


def cluster_wilson(credit: np.ndarray, recordings: np.ndarray, chance: float) -> Score:
    """Score of n items; credit [n] in 0..1, recordings [n] or [n, 2] the recordings that each was made from."""
    n, mean = len(credit), float(credit.mean())
    sharing = _Sharing.of(recordings)
    rarer = credit < 0.5 if mean >= 0.5 else credit > 0.5
    size = _effective_size(credit - mean, mean * (1 - mean), rarer, sharing)
    t = _quantile(sharing)
    centre = (mean + t * t / (2 * size)) / (1 + t * t / size)
    half = t * math.sqrt(mean * (1 - mean) / size + (t / (2 * size)) ** 2) / (1 + t * t / size)
    return _percent(mean, centre, half, (0.0, 1.0), n, chance)


def cluster_difference(difference: np.ndarray, recordings: np.ndarray) -> Score:
    """Mean of n paired differences of credit, in percent; chance is 0.

    difference [n] in -1..1: what one model got for an item, less what another got for the same item. The interval is
    Agresti and Min's for paired proportions (2005): one item more for the one model and one for the other, each with
    half the weight.
    """
    n, mean = len(difference), float(difference.mean())
    sharing = _Sharing.of(recordings)
    residual, square = difference - mean, float((difference**2).mean())
    size = _effective_size(residual, float((residual**2).mean()), difference != np.median(difference), sharing)
    centre, square = size * mean / (size + 2), (size * square + 1) / (size + 2)
    half = _quantile(sharing) * math.sqrt((square - centre**2) / (size + 2))
    return _percent(mean, centre, half, (-1.0, 1.0), n, 0.0)


def _effective_size(residual: np.ndarray, variance: float, rarer: np.ndarray, sharing: _Sharing) -> float:
    """How many independent items would tell as much as these n do, from 1 to n.

    variance: of an item. The estimate rests on the recordings of the `rarer` answer; if these are few it is drawn
    towards a prior.
    """
    n, g = len(residual), sharing.recordings
    effect = 1.0
    if variance > 0:
        effect = max(sharing.products(residual) / n * (g / max(g - 1, 1)) / variance, 1.0)
    told = len(np.unique(sharing.numbered[rarer]))
    prior = 1 + PRIOR_CORRELATION * (sharing.products(np.ones(n)) / n - 1)
    return max(n * (told + PRIOR_RECORDINGS) / (told * effect + PRIOR_RECORDINGS * prior), 1.0)


def _quantile(sharing: _Sharing) -> float:
    return float(stats.t.ppf(0.975, max(FREEDOM * (sharing.recordings - 1), 1)))


def t_half_width(values: np.ndarray) -> float:
    """Half of the 95% t-interval of the mean of `values` [n], such as one score's over seeds; NaN if n < 2."""
    if len(values) < 2:
        return math.nan
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def paired_t(difference: np.ndarray, test_per_train: float = 0.0) -> tuple[float, float, float]:
    """95% t-interval (low, high) of the mean of paired differences [n], and the two-sided p of a mean of 0.

    test_per_train: of differences from n folds, each of which was trained on clips of the others: how many test clips
    come to one training clip. Such differences are not independent, so the variance of their mean is taken as
    s² (1/n + test_per_train) instead of s²/n (the corrected resampled t-test: Nadeau and Bengio, Inference for the
    Generalization Error, Machine Learning 52, 2003).

    All NaN if n < 2, or if the differences are the same but for rounding: what does not vary cannot be tested.
    """
    n = len(difference)
    if n < 2 or np.ptp(difference) <= ROUNDING:
        return math.nan, math.nan, math.nan
    mean, wider = float(difference.mean()), math.sqrt(1 + n * test_per_train)
    half = t_half_width(difference) * wider
    t = float(stats.ttest_1samp(difference, 0.0).statistic) / wider
    return mean - half, mean + half, float(2 * stats.t.sf(abs(t), n - 1))


def holm(p: np.ndarray, comparisons: int | None = None) -> np.ndarray:
    """Holm's adjusted p-values [m]: any of them is below 0.05 by chance in at most 5% of cases (Holm 1979).

    comparisons: how many there were of which these m are some, such as all pairs of configurations if the one that is
    compared was chosen among them; default m. NaN (no test) stays NaN.
    """
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    # Smaller ones among those that are not here would lower the factors further, so these are on the safe side.
    factors = (len(p) if comparisons is None else comparisons) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def _percent(mean: float, centre: float, half: float, possible: tuple[float, float], n: int, chance: float) -> Score:
    """The interval centre ± half as far as it is possible; rounding alone could leave the mean outside it."""
    low, high = max(min(centre - half, mean), possible[0]), min(max(centre + half, mean), possible[1])
    return Score(100 * mean, 100 * low, 100 * high, n, 100 * chance)
