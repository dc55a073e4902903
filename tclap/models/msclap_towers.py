"""The towers of Microsoft's CLAP: the `msclap` package's own modules, in the order of its own `forward`.

Tests hold them to it. What differs: no random crop, no spectrogram augmentation, batch norm on stored statistics also
in training.

Shapes: B batch, T samples, L tokens, H width of a tower, D embedding size.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tclap.models.split import Parts, padding_mask

with warnings.catch_warnings():  # importing msclap silences every warning of the process
    from msclap.models.clap import AudioEncoder, TextEncoder


class Cnn14Tower:
    """Cnn14: log-mel and convolutions, pooled over time to 2048-d | fc1 | projection. `fc_audioset` has no gradient."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self.base = encoder.base
        self.projection = encoder.projection
        self.parts = Parts((encoder,), (encoder.base.fc1, encoder.base.fc_audioset), (encoder.projection,))
        self.front_end = {"tower": "Cnn14"}

    def lower(self, wave: Tensor) -> Tensor:  # [B, T] -> [B, 2048]
        x = _normalised_log_mel(self.base, wave)
        blocks = [getattr(self.base, f"conv_block{i}") for i in range(1, 7)]
        for block in blocks:
            x = block(x, pool_size=(1, 1) if block is blocks[-1] else (2, 2), pool_type="avg")
            x = F.dropout(x, p=0.2, training=block.training)
        x = x.mean(dim=3)  # over mel bands
        return x.amax(dim=2) + x.mean(dim=2)  # over time

    def upper(self, lower: Tensor) -> Tensor:  # [B, 2048] -> [B, 2048]
        fc1 = self.base.fc1
        return F.relu(fc1(F.dropout(lower, p=0.5, training=fc1.training)))

    def project(self, pooled: Tensor) -> Tensor:  # [B, 2048] -> [B, D]
        return self.projection(F.dropout(pooled, p=0.5, training=self.projection.training))


class HtsatTower:
    """HTSAT: log-mel, patches and all stages but the last | last stage, norm, mean over patches | projection."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self.htsat = encoder.base.htsat
        self.projection = encoder.projection
        self.parts = Parts((encoder,), (self.htsat.layers[-1], self.htsat.norm), (encoder.projection,))
        self.front_end = {"tower": "HTSAT"}

    def lower(self, wave: Tensor) -> Tensor:  # [B, T] -> [B, 64, H]
        x = self.htsat.reshape_wav2img(_normalised_log_mel(self.htsat, wave))
        x = self.htsat.pos_drop(self.htsat.patch_embed(x))
        for stage in self.htsat.layers[:-1]:
            x = _swin_stage(stage, x)
        return x

    def upper(self, lower: Tensor) -> Tensor:  # [B, 64, H] -> [B, H]
        return self.htsat.norm(_swin_stage(self.htsat.layers[-1], lower)).mean(dim=1)

    def project(self, pooled: Tensor) -> Tensor:  # [B, H] -> [B, D]
        return self.projection(pooled)


class BertTower:
    """BERT: all layers but the last | last layer at [CLS] | projection. The pooler is counted, but has no gradient."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.bert = encoder.base
        self.projection = encoder.projection
        last = encoder.base.encoder.layer[-1]
        self.parts = Parts((encoder,), (last, encoder.base.pooler), (encoder.projection,))

    def lower(self, ids: Tensor, lengths: Tensor) -> Tensor:  # [B, L] -> [B, L, H]
        x = self.bert.embeddings(input_ids=ids)
        mask = padding_mask(lengths, x)
        for layer in self.bert.encoder.layer[:-1]:
            x = layer(x, attention_mask=mask)[0]
        return x

    def upper(self, lower: Tensor, lengths: Tensor) -> Tensor:  # [B, L, H] -> [B, H]
        # Only [CLS] is read, so only [CLS] asks: the other rows of the layer would be computed for nothing.
        layer = self.bert.encoder.layer[-1]
        mask = padding_mask(lengths, lower)
        x = layer.attention(lower[:, :1], attention_mask=mask, encoder_hidden_states=lower)[0]
        return layer.feed_forward_chunk(x).squeeze(1)

    def project(self, pooled: Tensor) -> Tensor:  # [B, H] -> [B, D]
        return self.projection(pooled)


class Gpt2Tower:
    """GPT-2: all blocks but the last | last block and norm at the last token | projection.

    Causal, and padded at the end: no token sees padding, so no mask is needed.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.gpt2 = encoder.base
        self.projection = encoder.projection
        self.parts = Parts((encoder,), (encoder.base.h[-1], encoder.base.ln_f), (encoder.projection,))

    def lower(self, ids: Tensor, lengths: Tensor) -> Tensor:  # [B, L] -> [B, L, H]
        position = torch.arange(ids.shape[1], device=ids.device)
        x = self.gpt2.drop(self.gpt2.wte(ids) + self.gpt2.wpe(position))
        for block in self.gpt2.h[:-1]:
            x = block(x)[0]
        return x

    def upper(self, lower: Tensor, lengths: Tensor) -> Tensor:  # [B, L, H] -> [B, H]
        x = self.gpt2.h[-1](lower)[0]
        return self.gpt2.ln_f(x[torch.arange(len(x), device=x.device), lengths - 1])

    def project(self, pooled: Tensor) -> Tensor:  # [B, H] -> [B, D]
        return self.projection(pooled)


def _normalised_log_mel(base: Any, wave: Tensor) -> Tensor:
    """[B, T] -> [B, 1, frames, mels], through bn0, in float32. Nothing is learned before bn0."""
    with torch.autocast(wave.device.type, enabled=False):
        with torch.no_grad(), _no_tf32():
            x = base.logmel_extractor(base.spectrogram_extractor(wave))
        return base.bn0(x.transpose(1, 3)).transpose(1, 3)


@contextlib.contextmanager
def _no_tf32() -> Iterator[None]:
    """A GPU's convolutions in float32. The package's Fourier transform is one; in TF32 (ten bits), torch's default
    there, bins without sound would hold the rounding of those with sound."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _swin_stage(stage: Any, x: Tensor) -> Tensor:
    """A stage without the attention maps that its own forward collects."""
    for block in stage.blocks:
        x = block(x)[0]
    return x if stage.downsample is None else stage.downsample(x)
