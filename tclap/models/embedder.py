"""Any model with `encode_audio` and `encode_text` as a `ContrastiveModel` that is scored, but not trained.

    encode_audio(list of float32 mono arrays, sample_rate_hz) -> [n, D]
    encode_text(list of str) -> [n, D]

Arrays or tensors, normalised or not. `window_s` and `sample_rate_hz` say what it wants to hear; if it says nothing,
windows are 10 s at 48 kHz. Its embeddings take the place of the frozen features, so they are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tclap.config import canonical_hash
from tclap.errors import InputError
from tclap.models.split import content_hash

ENCODERS = ("encode_audio", "encode_text")
WINDOW_S = 10.0
SAMPLE_RATE_HZ = 48_000
AT_ONCE = 32  # windows or texts in one call


class Embedder(nn.Module):
    """An embedder `own` made by `name`; code: names the version of its code (`plugins.code_version`)."""

    padding_value = 0.0

    def __init__(self, name: str, own: Any, code: str, options: Mapping[str, object]) -> None:
        super().__init__()
        self.name = name
        self.own = own  # a part of this module if it is one itself
        self.window_s = float(getattr(own, "window_s", WINDOW_S))
        self.sample_rate_hz = int(getattr(own, "sample_rate_hz", SAMPLE_RATE_HZ))
        self.requires_grad_(False)
        self.logit_scale = nn.Parameter(torch.zeros(()), requires_grad=False)  # says on which device this is
        self._code, self._options = code, dict(options)
        self.eval()

    @torch.no_grad()
    def audio_frozen(self, wave: Tensor) -> Tensor:  # [B, T] -> [B, D]
        def encode(part: Tensor) -> object:
            return self.own.encode_audio(list(part.cpu().numpy()), self.sample_rate_hz)

        return self._encoded("encode_audio", encode, wave.split(AT_ONCE))

    def audio_head(self, features: Tensor) -> Tensor:  # [B, D] -> [B, D]
        return F.normalize(features.float(), dim=-1)

    @torch.no_grad()
    def text_frozen(self, texts: Sequence[str]) -> list[Tensor]:  # B texts -> B x [1, D]
        parts = [list(texts[start : start + AT_ONCE]) for start in range(0, len(texts), AT_ONCE)]
        return list(self._encoded("encode_text", self.own.encode_text, parts).unsqueeze(1))

    def text_head(self, features: Tensor, lengths: Tensor) -> Tensor:  # [B, 1, D], [B] -> [B, D]
        return F.normalize(features[:, 0].float(), dim=-1)

    def _encoded(self, encoder: str, encode: Callable[[Any], object], parts: Sequence[Any]) -> Tensor:
        """[B, D] normalised, to fit float16. Raises InputError if it is no matrix of one row for each input."""
        done = []
        for part in parts:
            embedded = torch.as_tensor(encode(part)).detach().float()
            if embedded.ndim != 2 or len(embedded) != len(part):
                raise InputError(
                    f"{self.name}: {encoder} of {len(part)} inputs gave shape {tuple(embedded.shape)}, "
                    f"not ({len(part)}, D)"
                )
            done.append(F.normalize(embedded.to(self.logit_scale.device), dim=-1))
        return torch.cat(done)

    def fingerprint(self) -> str:
        """Of the embedder's own `fingerprint()`, or of its code's version, its options and all tensors it shows."""
        own = getattr(self.own, "fingerprint", None)
        if callable(own):
            return canonical_hash([self.name, own()])
        held = [self.own, *vars(self.own).values()] if hasattr(self.own, "__dict__") else [self.own]
        digests = [content_hash(part, trained_too=True) for part in held if isinstance(part, nn.Module)]
        return canonical_hash([self.name, self._code, self._options, self.window_s, self.sample_rate_hz, digests])

    def module(self) -> nn.Module:
        return self

    def rebuild_config(self) -> dict[str, object]:
        return {"name": self.name, **self._options}
