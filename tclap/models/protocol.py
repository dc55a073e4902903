"""What tclap asks of a contrastive audio-language model: two towers, each in a frozen and a trainable half.

Shapes: B batch, T samples of a window, L tokens of the longest text, D embedding size; `...` the model's own features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence


class ContrastiveModel(Protocol):
    """A model whose frozen halves are computed once per sweep and whose heads are post-trained."""

    name: str
    window_s: float
    sample_rate_hz: int
    logit_scale: nn.Parameter  # log of the factor on cosine similarities; trained and saved
    padding_value: float  # what text features are padded with: the model's own token id, or 0 for hidden states

    def audio_frozen(self, wave: Tensor) -> Tensor:
        """[B, T] -> [B, ...] features, without gradient."""
        ...

    def audio_head(self, features: Tensor) -> Tensor:
        """[B, ...] -> [B, D] L2-normalised embeddings."""
        ...

    def text_frozen(self, texts: Sequence[str]) -> list[Tensor]:
        """B texts -> B features [L, ...], unpadded, without gradient."""
        ...

    def text_head(self, features: Tensor, lengths: Tensor) -> Tensor:
        """[B, L, ...] features, padded at the end with `padding_value`, and [B] lengths -> [B, D] L2-normalised."""
        ...

    def fingerprint(self) -> str:
        """Hash of everything that the frozen halves' outputs depend on."""
        ...

    def module(self) -> nn.Module:
        """The torch module that owns every tensor, for devices, state and optimisers."""
        ...

    def rebuild_config(self) -> dict[str, object]:
        """JSON-able arguments from which `tclap.models.build` makes the same architecture."""
        ...


def padded(features: Sequence[Tensor], padding_value: float) -> tuple[Tensor, Tensor]:
    """B features [L, ...] of different lengths -> ([B, L, ...] padded at the end, [B] lengths), on their device."""
    lengths = torch.tensor([len(own) for own in features], device=features[0].device)
    return pad_sequence(list(features), batch_first=True, padding_value=padding_value), lengths


def as_kept(features: Tensor, wave: Tensor) -> np.ndarray:
    """[B, ...] audio features of `wave` as the cache keeps them: in float16, or in float32 if they are the wave itself.

    What is larger than float16 can say becomes infinite, and `beyond_float16` tells.
    """
    array = features.float().cpu().numpy()
    with np.errstate(over="ignore"):
        kept: np.ndarray = array.astype(np.float32 if features.shape == wave.shape else np.float16)
    return kept


def beyond_float16(features: Tensor, kept: np.ndarray) -> str | None:
    """What is wrong where features that were finite are not any more in `kept`, and what would be right, or None."""
    if np.isfinite(kept).all():
        return None
    array = features.float().cpu().numpy()
    lost = np.abs(array[np.isfinite(array) & ~np.isfinite(kept)])
    if not len(lost):
        return None
    return (
        f"audio_frozen gives features up to {lost.max():.3g}, and they are kept in float16, which ends at "
        f"{np.finfo(np.float16).max:g}: take their logarithm or scale them in audio_frozen"
    )


def text_embeddings(model: ContrastiveModel, texts: Sequence[str]) -> Tensor:
    """B texts -> [B, D], through both halves of the text tower."""
    return model.text_head(*padded(model.text_frozen(texts), model.padding_value))


def trainable_parameters(model: ContrastiveModel) -> dict[str, nn.Parameter]:
    """Name -> parameter of everything that post-training changes, `logit_scale` included."""
    return {name: p for name, p in model.module().named_parameters() if p.requires_grad}


@torch.no_grad()
def clamp_logit_scale(model: ContrastiveModel) -> None:
    """Bring exp(logit_scale) down to 100 where it is above (design 5).

    In place, between steps, as CLIP does: a clamp within the loss would have no gradient there, and the scale would
    never come down again.
    """
    model.logit_scale.clamp_(max=math.log(100.0))
