import itertools

import numpy as np
import pytest

from tclap.evaluation.ranking import credit


def slow_credit(similarity: list[int], right: list[bool], rule: str) -> float:
    """The mean over every order of the candidates that the similarities allow."""
    scores = []
    for order in itertools.permutations(range(len(similarity))):
        if any(similarity[a] < similarity[b] for a, b in itertools.pairwise(order)):
            continue
        hits = [right[c] for c in order[:2]]
        if rule == "top1":
            scores.append(float(hits[0]))
        elif rule == "both":
            scores.append(float(all(hits)))
        elif rule == "at_least_one":
            scores.append(float(any(hits)))
        else:
            scores.append(sum(hits) / 2)
    return sum(scores) / len(scores)


@pytest.mark.parametrize("rule", ["top1", "both", "at_least_one", "half_credit"])
@pytest.mark.parametrize("k", [2, 3, 4, 6])
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_equals_brute_force_over_all_orders_of_the_tied(rule: str, k: int, levels: int) -> None:
    rng = np.random.default_rng([k, levels])
    n = 30
    similarity = rng.integers(0, levels, (n, k))
    right = np.zeros((n, k), bool)
    for row in right:
        row[rng.choice(k, 1 if rule == "top1" else 2, replace=False)] = True
    got = credit(similarity.astype(np.float32), right, rule)  # type: ignore[arg-type]
    expected = [slow_credit(s.tolist(), r.tolist(), rule) for s, r in zip(similarity, right, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_rounding_noise_does_not_break_a_tie() -> None:
    similarity = np.array([[1.0, 1.0 - 1e-7, 1.0 + 1e-7]])
    assert credit(similarity, np.array([[True, False, False]]), "top1") == pytest.approx(1 / 3)
    assert credit(similarity + np.array([[1e-5, 0, 0]]), np.array([[True, False, False]]), "top1") == 1


def test_nan_has_no_rank() -> None:
    with pytest.raises(ValueError, match="NaN"):
        credit(np.array([[0.5, np.nan]]), np.array([[True, False]]), "top1")
