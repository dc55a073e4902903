import dataclasses

import numpy as np
import pytest

from tclap.evaluation import statistics
from tclap.evaluation.statistics import clip_bootstrap, wilson


def test_wilson_of_a_known_case() -> None:
    """81 of 263, R. Newcombe (1998), Statistics in Medicine 17, table I, method 3: 0.2553 to 0.3662."""
    score = wilson(np.repeat([1.0, 0.0], [81, 182]), chance=0.1)
    assert score.value == pytest.approx(100 * 81 / 263)
    assert score.low == pytest.approx(25.53, abs=5e-3)
    assert score.high == pytest.approx(36.62, abs=5e-3)
    assert score.n == 263
    assert score.chance == pytest.approx(10)


@pytest.mark.parametrize(("hits", "low", "high"), [(0, 0, 27.75), (10, 72.25, 100)])
def test_wilson_at_the_ends(hits: int, low: float, high: float) -> None:
    """With n = 10 and z = 1.96: z² / (n + z²) = 0.2775."""
    score = wilson(np.repeat([1.0, 0.0], [hits, 10 - hits]), chance=0.5)
    assert (score.low, score.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def recurring(seed: int, clips: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of few clips, where a clip is easy or hard wherever it is heard."""
    rng = np.random.default_rng(seed)
    pairs = np.array([(a, b) for a in range(clips) for b in range(a)])
    easy = np.where(np.arange(clips) % 2, 0.9, 0.1)
    return (rng.random(len(pairs)) < easy[pairs].mean(axis=1)).astype(float), pairs


@pytest.mark.parametrize("seed", range(4))
def test_bootstrap_contains_the_mean(seed: int) -> None:
    credit, pairs = recurring(seed)
    score = clip_bootstrap(credit, pairs, chance=0.5)
    assert score.value == pytest.approx(100 * credit.mean())
    assert 0 <= score.low < score.value < score.high <= 100
    assert (score.n, score.chance) == (66, 50)


def test_bootstrap_is_seeded() -> None:
    credit, pairs = recurring(0)
    assert clip_bootstrap(credit, pairs, 0.5, seed=3) == clip_bootstrap(credit, pairs, 0.5, seed=3)
    assert clip_bootstrap(credit, pairs, 0.5, seed=3) != clip_bootstrap(credit, pairs, 0.5, seed=4)


def test_bootstrap_does_not_depend_on_the_names_of_clips() -> None:
    credit, pairs = recurring(0)
    named = clip_bootstrap(credit, 1000 + 7 * pairs, 0.5)
    assert dataclasses.astuple(named) == pytest.approx(dataclasses.astuple(clip_bootstrap(credit, pairs, 0.5)))


@pytest.mark.parametrize("seed", range(4))
def test_bootstrap_is_wider_than_over_items_where_clips_recur(seed: int) -> None:
    credit, pairs = recurring(seed)
    rng = np.random.default_rng(seed)
    naive = rng.choice(credit, (2000, len(credit))).mean(axis=1)
    low, high = 100 * np.quantile(naive, (0.025, 0.975))
    score = clip_bootstrap(credit, pairs, chance=0.5)
    assert score.high - score.low > 1.2 * (high - low)


def test_bootstrap_weighs_an_item_by_both_its_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the definition, item by item, with enough resamples to agree to a percent or so."""
    monkeypatch.setattr(statistics, "RESAMPLES", 10_000)
    credit, pairs = recurring(1, clips=10)
    rng = np.random.default_rng(0)
    means = []
    for draw in rng.integers(0, 10, (10_000, 10)).tolist():
        weights = [draw.count(a) * draw.count(b) for a, b in pairs.tolist()]
        means.append(sum(w * c for w, c in zip(weights, credit.tolist(), strict=True)) / sum(weights))
    low, high = 100 * np.quantile(means, (0.025, 0.975))
    score = clip_bootstrap(credit, pairs, 0.5)
    assert score.low == pytest.approx(low, abs=1.5)
    assert score.high == pytest.approx(high, abs=1.5)


@pytest.mark.parametrize("value", [0.0, 1 / 3, 1.0])
def test_bootstrap_of_a_constant_is_that_constant(value: float) -> None:
    _, pairs = recurring(0)
    score = clip_bootstrap(np.full(len(pairs), value), pairs, chance=1 / 3)
    assert score.low == pytest.approx(100 * value)
    assert score.high == pytest.approx(100 * value)
