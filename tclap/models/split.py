"""A pretrained CLAP as a `ContrastiveModel`: both towers in three stages, cut where the trained part begins.

    wave or token ids -> lower -> upper -> project -> L2 norm

`trainable` says where the cut lies, and so what is frozen, computed once and cached:

    "all"         nothing is frozen: the features are the wave and the token ids themselves
    "paper"       `lower` is frozen; `upper` (the last layer or stage) and `project` are trained
    "projection"  `lower` and `upper` are frozen; only `project` is trained

Dropout that acts on the input of the first trained layer belongs to the trained half and is active in train();
everything frozen is always in eval mode, and batch norm uses its stored statistics wherever it stands.

Shapes: B batch, T samples of a window, L tokens of a text, H width of a tower, D embedding size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tclap.config import Trainable, canonical_hash
from tclap.errors import InputError
from tclap.models import weights
from tclap.models.family import Listing, count
from tclap.models.protocol import padded
from tclap.models.tokenise import Tokeniser

CUT: dict[Trainable, int] = {"all": 0, "paper": 1, "projection": 2}
FROZEN_WINDOWS = {"cpu": 8, "cuda": 64}  # windows at once where no gradient is kept: caps the activations
FROZEN_TEXTS = 128


@dataclass(frozen=True)
class Parts:
    """The modules of a tower. `upper` and `projection` are what "paper" trains; counts are over `whole`."""

    whole: tuple[nn.Module, ...]
    upper: tuple[nn.Module, ...]
    projection: tuple[nn.Module, ...]

    def trained(self, trainable: Trainable) -> tuple[nn.Module, ...]:
        return {"all": self.whole, "paper": self.upper + self.projection, "projection": self.projection}[trainable]


class AudioTower(Protocol):
    """Three stages over the modules of a package's own audio encoder."""

    parts: Parts
    front_end: Mapping[str, object]  # what the lower stage computes besides its tensors, for the fingerprint

    def lower(self, wave: Tensor) -> Tensor:
        """[B, T] -> [B, ...]"""
        ...

    def upper(self, lower: Tensor) -> Tensor:
        """[B, ...] -> [B, H]"""
        ...

    def project(self, pooled: Tensor) -> Tensor:
        """[B, H] -> [B, D]"""
        ...


class TextTower(Protocol):
    """Three stages over the modules of a package's own text encoder; padding stands at the end."""

    parts: Parts

    def lower(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """[B, L] token ids, [B] lengths -> [B, L, H]"""
        ...

    def upper(self, lower: Tensor, lengths: Tensor) -> Tensor:
        """[B, L, H], [B] -> [B, H]"""
        ...

    def project(self, pooled: Tensor) -> Tensor:
        """[B, H] -> [B, D]"""
        ...


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, and where it is cut."""

    trainable: Trainable
    rebuild: Mapping[str, object]  # the arguments of `tclap.models.build`, without the name
    untrained: bool  # the base has random weights, which every table that shows its scores must say


class SplitClap(nn.Module):
    """A `ContrastiveModel` over the two towers of `clap`, which keeps its package's own parameter names."""

    def __init__(
        self,
        name: str,
        clap: nn.Module,
        logit_scale: nn.Parameter,
        audio: AudioTower,
        text: TextTower,
        tokeniser: Tokeniser,
        origin: Origin,
        *,
        window_s: float,
        sample_rate_hz: int,
    ) -> None:
        super().__init__()
        self.name = name
        self.window_s = window_s
        self.sample_rate_hz = sample_rate_hz
        self.untrained = origin.untrained
        self.trainable = origin.trainable
        self.clap = clap
        self.logit_scale = logit_scale  # the same parameter as clap's: named_parameters() shows it once, by this name
        self.audio = audio
        self.text = text
        self.tokeniser = tokeniser
        self._rebuild = dict(origin.rebuild)
        self._fingerprint: str | None = None
        self._cut = CUT[origin.trainable]
        self.padding_value = float(tokeniser.pad_id if self._cut == 0 else 0)
        learnable = {id(p) for p in clap.parameters() if p.requires_grad}  # not the Fourier and mel matrices
        clap.requires_grad_(False)
        for module in self._trained():
            for parameter in module.parameters():
                parameter.requires_grad_(id(parameter) in learnable)
        logit_scale.requires_grad_(True)
        self.eval()

    def _trained(self) -> tuple[nn.Module, ...]:
        return self.audio.parts.trained(self.trainable) + self.text.parts.trained(self.trainable)

    def train(self, mode: bool = True) -> SplitClap:
        """Train mode for the trained half alone; batch norm never leaves its stored statistics."""
        super().train(False)
        for module in self._trained():
            module.train(mode)
            for part in module.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    part.train(False)
        self.training = mode
        return self

    @torch.no_grad()
    def audio_frozen(self, wave: Tensor) -> Tensor:  # [B, T] -> [B, ...]
        if self._cut == 0:
            return wave
        stages = (self.audio.lower, self.audio.upper)[: self._cut]
        done = []
        for part in split_windows(wave):
            for stage in stages:
                part = stage(part)
            done.append(part)
        return torch.cat(done)

    def audio_head(self, features: Tensor) -> Tensor:  # [B, ...] -> [B, D]
        if self._cut == 0 and not self.training and not torch.is_grad_enabled():  # scoring with the whole tower
            return torch.cat([self._audio_head(part) for part in split_windows(features)])
        return self._audio_head(features)

    def _audio_head(self, features: Tensor) -> Tensor:
        x = features.to(self.logit_scale.dtype)
        for stage in (self.audio.lower, self.audio.upper, self.audio.project)[self._cut :]:
            x = stage(x)
        return F.normalize(x, dim=-1)

    @torch.no_grad()
    def text_frozen(self, texts: Sequence[str]) -> list[Tensor]:  # B texts -> B x [L, ...]
        device = self.logit_scale.device
        ids = [torch.tensor(self.tokeniser.encode(text), device=device) for text in texts]
        if self._cut == 0:
            return ids
        done: list[Tensor] = []
        for start in range(0, len(ids), FROZEN_TEXTS):
            part, lengths = padded(ids[start : start + FROZEN_TEXTS], self.tokeniser.pad_id)
            x = self.text.lower(part, lengths)  # [B, L, H]
            if self._cut == 1:
                done += [hidden[:n].clone() for hidden, n in zip(x, lengths.tolist(), strict=True)]
            else:
                done += self.text.upper(x, lengths).unsqueeze(1).unbind()  # [1, H] each
        return done

    def text_head(self, features: Tensor, lengths: Tensor) -> Tensor:  # [B, L, ...], [B] -> [B, D]
        x = self.text.lower(features, lengths) if self._cut == 0 else features.to(self.logit_scale.dtype)
        x = self.text.upper(x, lengths) if self._cut <= 1 else x.squeeze(1)
        return F.normalize(self.text.project(x), dim=-1)

    def fingerprint(self) -> str:
        """Hash of the content of every tensor that is not trained, of the tokenizer and of the settings."""
        if self._fingerprint is None:
            settings = {
                "name": self.name,
                "trainable": self.trainable,
                "front_end": dict(self.audio.front_end),
                "tokeniser": self.tokeniser.identity,
                "frozen": content_hash(self.clap),
            }
            self._fingerprint = canonical_hash(settings)
        return self._fingerprint

    def module(self) -> nn.Module:
        return self

    def rebuild_config(self) -> dict[str, object]:
        return {"name": self.name, **self._rebuild}


def split_windows(wave: Tensor) -> tuple[Tensor, ...]:
    """[B, ...] in parts of as many windows as a whole tower may hear at once."""
    return wave.split(FROZEN_WINDOWS["cuda" if wave.is_cuda else "cpu"])


def describe(model: SplitClap, weights_path: str | None, repo: str, files: tuple[str, ...]) -> Listing:
    """Counts of a skeleton, and the file of `repo` that `weights_path` or the hub's cache holds."""
    if weights_path is None:
        here = weights.cached(repo, files)
    else:
        try:
            here = weights.locate(model.name, weights_path, repo, files, "")
        except InputError:
            here = None
    return Listing(
        model.name,
        model.window_s,
        model.sample_rate_hz,
        model.trainable,
        count(model.audio.parts.whole),
        count(model.text.parts.whole),
        None if here is None else str(here),
        f"{weights.HUB}/{repo}/resolve/main/{files[0]}, or --weights PATH",
    )


def padding_mask(lengths: Tensor, hidden: Tensor) -> Tensor:
    """[B] lengths -> additive attention mask [B, 1, 1, L] for `hidden` [B, L, H]."""
    beyond = torch.arange(hidden.shape[1], device=lengths.device) >= lengths[:, None]  # [B, L]
    mask = torch.zeros(beyond.shape, dtype=hidden.dtype, device=hidden.device)
    return mask.masked_fill(beyond, torch.finfo(hidden.dtype).min)[:, None, None, :]


def content_hash(module: nn.Module, trained_too: bool = False) -> str:
    """SHA-256 over names, shapes and bytes of every tensor of the state that is not trained, or of all."""
    learning = () if trained_too else module.named_parameters(remove_duplicate=False)
    trained = {name for name, p in learning if p.requires_grad}
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if name not in trained:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
