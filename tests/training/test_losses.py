"""The loss against slow float64 loops written from equations 8-18 as design 5 reads them.

In the loops nothing is vectorised and no weights are in a matrix: each denominator is summed term by term.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor

from tclap.config import COEFFICIENTS, LossCoefficients, StageASettings
from tclap.training.losses import contrastive_loss, info_nce_weights, stage_a_weights, stage_b_weights, tnce

SWITCHES = list(itertools.product((0.0, 1.0), repeat=5))
FACTOR = 5.0


def unit(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def coefficients(switches: tuple[float, ...]) -> LossCoefficients:
    return LossCoefficients(**dict(zip(COEFFICIENTS, switches, strict=True)))


def loss_b(audio: Tensor, text: Tensor, c: LossCoefficients) -> Tensor:
    weights = stage_b_weights(audio.shape[1], c)
    return contrastive_loss(audio, text, torch.tensor(FACTOR, dtype=torch.float64), weights, c.beta)


def loss_a(audio: Tensor, text: Tensor, single: list[int], pairs: list[tuple[int, int]], s: StageASettings) -> Tensor:
    weights = stage_a_weights(torch.tensor(single), torch.tensor(pairs), s)
    return contrastive_loss(audio, text, torch.tensor(FACTOR, dtype=torch.float64), weights, s.beta)


def exp_z(anchor: list[float], candidate: list[float]) -> float:
    return math.exp(FACTOR * sum(x * y for x, y in zip(anchor, candidate, strict=True)))


def slow_b_side(anchor: list, candidate: list, c: LossCoefficients) -> float:
    """Eq. 8 (or 14, with the sides exchanged), the mean over N of each of its three terms."""
    f, r, o = 0, 1, 2
    n = len(anchor[f])
    total = 0.0
    for i in range(n):
        others = [k for k in range(n) if k != i]

        def reversal(kind: int, x: list[float], i: int = i, others: list[int] = others) -> float:  # eq. 11
            own = c.alpha_st * exp_z(x, candidate[kind][i])
            return own + c.alpha_ct * sum(exp_z(x, candidate[kind][k]) for k in others)

        def overlays(x: list[float], i: int = i, others: list[int] = others) -> float:  # eq. 12
            own = c.alpha_so * exp_z(x, candidate[o][i])
            return own + c.alpha_co * sum(exp_z(x, candidate[o][k]) for k in others)

        x = anchor[f][i]  # eq. 9
        below = sum(exp_z(x, candidate[f][k]) for k in range(n)) + reversal(r, x) + overlays(x)
        total -= math.log(exp_z(x, candidate[f][i]) / below)
        x = anchor[r][i]  # not printed: mirrors eq. 9
        below = sum(exp_z(x, candidate[r][k]) for k in range(n)) + reversal(f, x) + overlays(x)
        total -= math.log(exp_z(x, candidate[r][i]) / below)
        x = anchor[o][i]  # eqs. 10, 13
        forward = exp_z(x, candidate[f][i]) + sum(exp_z(x, candidate[f][k]) for k in others)
        ordered = forward + reversal(r, x)
        if c.row_o == "alpha":  # as released: an alpha on every negative of another kind
            own = sum(exp_z(x, candidate[kind][i]) for kind in (f, r))
            ordered = c.alpha_so * own + c.alpha_co * sum(
                exp_z(x, candidate[kind][k]) for kind in (f, r) for k in others
            )
        below = sum(exp_z(x, candidate[o][k]) for k in range(n)) + ordered
        total -= math.log(exp_z(x, candidate[o][i]) / below)
    return total / n


def slow_a_side(anchor: list, candidate: list, single: list[int], pairs: list, s: StageASettings) -> float:
    """Eq. 16 (or 17) with eqs. A14, A15; what means the same as the positive is no negative."""
    n = len(single)
    total = 0.0
    for i in range(n):
        x = anchor[0][i]
        below = exp_z(x, candidate[0][i])
        for k in range(n):
            if single[k] != single[i]:
                below += exp_z(x, candidate[0][k])
            below += (s.alpha_same if single[i] in pairs[k] else s.alpha_diff) * exp_z(x, candidate[1][k])
        total -= math.log(exp_z(x, candidate[0][i]) / below)
        x = anchor[1][i]
        below = exp_z(x, candidate[1][i])
        for k in range(n):
            if set(pairs[k]) != set(pairs[i]):
                below += exp_z(x, candidate[1][k])
            below += (s.alpha_same if single[k] in pairs[i] else s.alpha_diff) * exp_z(x, candidate[0][k])
        total -= math.log(exp_z(x, candidate[1][i]) / below)
    return total / n


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_stage_b_equals_the_equations(switches: tuple[float, ...], n: int) -> None:
    c = coefficients(switches)
    audio, text = unit(n, 3, n, 6), unit(n + 100, 3, n, 6)
    expected = slow_b_side(audio.tolist(), text.tolist(), c) + c.beta * slow_b_side(text.tolist(), audio.tolist(), c)
    assert float(loss_b(audio, text, c)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("switches", SWITCHES)
def test_released_row_o_equals_its_slow_loop(switches: tuple[float, ...]) -> None:
    c = coefficients(switches).model_copy(update={"row_o": "alpha"})
    audio, text = unit(7, 3, 5, 6), unit(107, 3, 5, 6)
    expected = slow_b_side(audio.tolist(), text.tolist(), c) + c.beta * slow_b_side(text.tolist(), audio.tolist(), c)
    assert float(loss_b(audio, text, c)) == pytest.approx(expected, rel=1e-6)


def test_released_row_o_is_symmetric_and_differs_where_alphas_are_0() -> None:
    c = LossCoefficients(alpha_st=0.2, alpha_ct=0.3, alpha_so=0.4, alpha_co=0.5, row_o="alpha")
    weights = stage_b_weights(4, c)
    assert torch.equal(weights, weights.T)
    ones = LossCoefficients()
    released = ones.model_copy(update={"row_o": "alpha"})
    assert torch.equal(stage_b_weights(4, ones), stage_b_weights(4, released))


def test_the_32_switches_are_32_losses() -> None:
    audio, text = unit(0, 3, 4, 6), unit(1, 3, 4, 6)
    assert len({round(float(loss_b(audio, text, coefficients(s))), 9) for s in SWITCHES}) == 32


def test_weights_need_not_be_binary() -> None:
    c = coefficients((0.3, 2.0, 0.7, 0.1, 0.5))
    audio, text = unit(3, 3, 4, 6), unit(4, 3, 4, 6)
    expected = slow_b_side(audio.tolist(), text.tolist(), c) + 0.5 * slow_b_side(text.tolist(), audio.tolist(), c)
    assert float(loss_b(audio, text, c)) == pytest.approx(expected, rel=1e-6)


BATCHES_A = {
    "distinct": ([0, 2, 4], [(0, 1), (2, 3), (5, 4)]),
    "single repeated": ([0, 0, 2, 0], [(0, 1), (2, 0), (1, 2), (0, 3)]),
    "single elsewhere": ([1, 1, 3, 3, 2], [(1, 2), (3, 1), (3, 0), (2, 3), (0, 2)]),
    "one pair": ([1], [(1, 0)]),
    "same pair in both orders": ([0, 1, 2], [(0, 1), (1, 0), (2, 0)]),
}


@pytest.mark.parametrize("batch", BATCHES_A.values(), ids=BATCHES_A)
@pytest.mark.parametrize("settings", [(1, 1, 1), (0, 1, 1), (1, 0, 1), (0, 0, 0), (0.5, 2, 0.3)])
def test_stage_a_equals_the_equations(batch: tuple[list, list], settings: tuple[float, float, float]) -> None:
    single, pairs = batch
    s = StageASettings(alpha_same=settings[0], alpha_diff=settings[1], beta=settings[2])
    audio, text = unit(7, 2, len(single), 6), unit(8, 2, len(single), 6)
    args = single, pairs, s
    expected = slow_a_side(audio.tolist(), text.tolist(), *args)
    expected += s.beta * slow_a_side(text.tolist(), audio.tolist(), *args)
    assert float(loss_a(audio, text, *args)) == pytest.approx(expected, rel=1e-6)


def test_a_repeated_single_is_no_negative() -> None:
    weights = stage_a_weights(torch.tensor([0, 0, 2]), torch.tensor([[0, 1], [0, 3], [2, 3]]), StageASettings())
    assert weights[0, :3].tolist() == [1, 0, 1]
    assert weights[1, :3].tolist() == [0, 1, 1]
    assert weights[2].tolist() == [1] * 6


def test_f_block_alone_is_twice_symmetric_info_nce() -> None:
    n = 5
    audio, text = unit(10, n, 6), unit(11, n, 6)
    text_term = audio_term = 0.0  # eq. 7's l_text and l_audio, with the minus sign it lacks in print
    for i in range(n):
        row = [exp_z(audio[i].tolist(), text[k].tolist()) for k in range(n)]
        column = [exp_z(text[i].tolist(), audio[k].tolist()) for k in range(n)]
        text_term -= math.log(row[i] / sum(row)) / n
        audio_term -= math.log(column[i] / sum(column)) / n
    eq_7 = 0.5 * (text_term + audio_term)
    f_block = stage_b_weights(n, coefficients((0, 0, 0, 0, 1)))[:n, :n]
    loss = contrastive_loss(audio[None], text[None], torch.tensor(FACTOR, dtype=torch.float64), f_block, 1.0)
    assert float(loss) == pytest.approx(2 * eq_7, rel=1e-9)
    assert torch.equal(f_block, info_nce_weights(torch.arange(n)))


def test_info_nce_leaves_out_equal_meanings() -> None:
    assert info_nce_weights(torch.tensor([4, 2, 4])).tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]


@pytest.mark.parametrize("switches", [(1, 1, 1, 1, 1), (0, 0, 0, 0, 1), (1, 0, 0, 1, 0), (0.5, 0, 2, 0, 0.3)])
def test_gradients_b(switches: tuple[float, ...]) -> None:
    c = coefficients(switches)
    weights = stage_b_weights(3, c)
    inputs = [unit(20, 3, 3, 4), unit(21, 3, 3, 4), torch.tensor(FACTOR, dtype=torch.float64)]
    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, t, z: contrastive_loss(a, t, z, weights, c.beta), inputs)


def test_gradients_a() -> None:
    weights = stage_a_weights(torch.tensor([0, 0, 2]), torch.tensor([[0, 1], [2, 0], [2, 1]]), StageASettings())
    inputs = [unit(22, 2, 3, 4), unit(23, 2, 3, 4), torch.tensor(FACTOR, dtype=torch.float64)]
    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, t, z: contrastive_loss(a, t, z, weights, 1.0), inputs)


def test_weight_zero_excludes_a_column_exactly() -> None:
    logits = torch.tensor([[1.0, 2.0, 80.0], [0.0, -1.0, 80.0]], dtype=torch.float64, requires_grad=True)
    positive = torch.tensor([0, 1])
    loss = tnce(logits, torch.tensor([[1.0, 1.0, 0.0], [0.5, 1.0, 0.0]]), positive)
    without = tnce(logits[:, :2], torch.tensor([[1.0, 1.0], [0.5, 1.0]]), positive)
    assert loss.tolist() == without.tolist()
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient[:, 2].tolist() == [0.0, 0.0]
    assert gradient[:, :2].abs().min() > 0


def test_logits_stay_wide_under_autocast() -> None:
    audio, text, weights = (
        unit(30, 3, 4, 8).float(),
        unit(31, 3, 4, 8).float(),
        stage_b_weights(4, LossCoefficients()),
    )
    factor = torch.tensor(100.0)
    plain = contrastive_loss(audio, text, factor, weights, 1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = contrastive_loss(audio, text, factor, weights, 1.0)
    assert cast.dtype == torch.float32
    assert float(cast) == float(plain)
    narrow = contrastive_loss(audio.bfloat16(), text.bfloat16(), factor, weights, 1.0)
    assert narrow.dtype == torch.float32


def test_a_large_factor_does_not_overflow() -> None:
    audio = text = unit(32, 3, 4, 8).float()
    loss = contrastive_loss(audio, -text, torch.tensor(100.0), stage_b_weights(4, LossCoefficients()), 1.0)
    assert 100 < float(loss) < 2 * 3 * (200 + math.log(12))


@pytest.mark.parametrize("cut", [0, 1, 3, 7])
def test_shares_add_up_to_the_whole(cut: int) -> None:
    n, c = 7, LossCoefficients()
    audio, text, weights = unit(40, 3, n, 6), unit(41, 3, n, 6), stage_b_weights(n, c)
    factor = torch.tensor(FACTOR, dtype=torch.float64)
    parts = [contrastive_loss(audio, text, factor, weights, 1.0, s) for s in (slice(0, cut), slice(cut, n))]
    assert float(sum(parts)) == pytest.approx(float(loss_b(audio, text, c)), rel=1e-12)
