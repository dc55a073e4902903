"""TNCE, the temporal contrastive loss of TeminAL A and B, as pure functions (equations 8-18, design 5).

Shapes: N pairs of a batch, K kinds stacked as blocks (B: forward, reversed, overlay; A: single, combined),
R anchor rows (K*N, or a worker's share of them), D embedding size.

For a row with its positive in column p, and Z the logits:

    TNCE(row) = -Z[row, p] + log sum_col W[row, col] * exp(Z[row, col])

The paper switches negatives by W alone, so W is all that tells the configurations apart. Deviations from print:
- Row r (reversed anchors) is not printed; it mirrors row f.
- Eq. 12 is followed where appendix A5/A11 differs (a second alpha_so term).
- A column that means the same as the row's positive gets weight 0. The paper does not say so, but with 50 classes
  and 256 pairs identical captions meet in every stage-A batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tclap.config import LossCoefficients, StageASettings


def stage_b_weights(n: int, coefficients: LossCoefficients) -> Tensor:
    """W of stage B, [3N, 3N] in blocks f, r, o (eqs. 9-13), for N pairs no two of which are of the same classes.

    Row o as printed counts forward negatives fully and reversed ones by alpha_st, alpha_ct. The authors' released code
    ("alpha") has its alphas on all six blocks across kinds: row o mirrors the column above it, so an o anchor meets f
    and r negatives by alpha_so, alpha_co. With all alphas 0, printed row o still learns overlays, released it does not.
    """
    c = coefficients
    same = torch.eye(n)
    own, other = same, 1 - same
    reverse = c.alpha_st * own + c.alpha_ct * other  # R, eq. 11
    overlay = c.alpha_so * own + c.alpha_co * other  # O, eq. 12
    full = torch.ones(n, n)
    # eqs. 10, 13: forward negatives count fully
    row_o = [full, reverse, full] if c.row_o == "printed" else [overlay, overlay, full]
    return torch.cat(
        [
            torch.cat([full, reverse, overlay], dim=1),
            torch.cat([reverse, full, overlay], dim=1),
            torch.cat(row_o, dim=1),
        ]
    )


def stage_a_weights(single_class: Tensor, pair_classes: Tensor, settings: StageASettings) -> Tensor:
    """W of stage A, [2N, 2N] in blocks single, combined (eqs. A14, A15).

    single_class [N]: class of each single window. pair_classes [N, 2]: classes of each combined window.
    """
    n = len(single_class)
    holds = (pair_classes[None, :, :] == single_class[:, None, None]).any(-1)  # [single, combined]
    cross = torch.where(holds, settings.alpha_same, settings.alpha_diff)  # [N, N]
    own = torch.eye(n, dtype=torch.bool)
    singles = ((single_class[:, None] != single_class[None, :]) | own).float()
    unordered = pair_classes.sort(dim=1).values
    combined = ((unordered[:, None] != unordered[None, :]).any(-1) | own).float()
    return torch.cat([torch.cat([singles, cross], dim=1), torch.cat([cross.T, combined], dim=1)])


def info_nce_weights(meaning: Tensor) -> Tensor:
    """W of plain InfoNCE (eq. 7), [N, N], without the false negatives among equal `meaning` [N]."""
    return ((meaning[:, None] != meaning[None, :]) | torch.eye(len(meaning), dtype=torch.bool)).float()


def tnce(logits: Tensor, weights: Tensor, positive: Tensor) -> Tensor:
    """TNCE of each row, [R].

    logits [R, C], weights [R, C] >= 0 (0 excludes a column exactly), positive [R] column of each row's positive.
    Computed in float32 or wider, whatever the autocast dtype.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    numerator = logits.gather(1, positive[:, None]).squeeze(1)
    return torch.logsumexp(logits + weights.to(logits).log(), dim=1) - numerator


def contrastive_loss(
    audio: Tensor,
    text: Tensor,
    logit_factor: Tensor,
    weights: Tensor,
    beta: float,
    share: slice | None = None,
) -> Tensor:
    """L_t + beta * L_a (eqs. 8, 14, 15, 18), each the sum over its K blocks of the mean over N.

    audio, text [K, N, D]: embeddings of the whole batch. weights [K*N, K*N]. logit_factor: exp(logit_scale).
    share: the pairs whose anchors are counted, for a worker of several; the shares of all workers add up to the
    whole loss. L_a has text anchors and audio candidates: its logits are those of L_t transposed, W is not.
    """
    kinds, n, _ = audio.shape
    rows = torch.arange(kinds * n, device=audio.device).reshape(kinds, n)
    rows = (rows if share is None else rows[:, share]).reshape(-1)  # [R]
    flat_audio, flat_text = audio.flatten(0, 1), text.flatten(0, 1)  # [K*N, D]
    weights = weights[rows]

    def side(anchors: Tensor, candidates: Tensor) -> Tensor:
        with torch.autocast(device_type=anchors.device.type, enabled=False):
            wide = anchors if anchors.dtype == torch.float64 else anchors.float()
            logits = logit_factor * (wide[rows] @ candidates.to(wide).T)  # [R, K*N]
            return tnce(logits, weights, rows).sum() / n

    loss = side(flat_audio, flat_text)
    return loss + beta * side(flat_text, flat_audio) if beta else loss
