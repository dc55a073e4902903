"""A user's own model: what `package.module:factory`, or an entry point of group `tclap.models`, returns (design 12).

The factory takes no arguments, or any of `weights`, `trainable` and `seed` by name. It returns one of two things:

- an `nn.Module` with `window_s`, `sample_rate_hz`, `audio_frozen`, `audio_head`, `text_frozen` and `text_head`
  (`tclap.models.protocol`): it can be post-trained. `logit_scale`, `padding_value` and `fingerprint` are optional.
- an embedder with `encode_audio` and `encode_text` (`tclap.models.embedder`): it can be scored.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tclap import plugins
from tclap.config import Trainable, canonical_hash
from tclap.errors import InputError
from tclap.models.embedder import ENCODERS, Embedder
from tclap.models.family import Count, Family, Listing
from tclap.models.protocol import ContrastiveModel
from tclap.models.split import FROZEN_TEXTS, content_hash, split_windows

NEEDED = ("window_s", "sample_rate_hz", "audio_frozen", "audio_head", "text_frozen", "text_head")
OPTIONS: dict[str, object] = {"weights": None, "trainable": "paper", "seed": 0}  # of a factory, with their defaults


class UserModel(nn.Module):
    """A user's `nn.Module` as a `ContrastiveModel`.

    The frozen halves run without gradient and in eval mode, and batch norm keeps to its stored statistics, as in the
    models of this package. code: names the version of the user's code (`plugins.code_version`).
    """

    def __init__(self, name: str, own: nn.Module, code: str, options: dict[str, object]) -> None:
        super().__init__()
        self.name = name
        self.own = own
        self.window_s = float(own.window_s)  # type: ignore[arg-type]
        self.sample_rate_hz = int(own.sample_rate_hz)  # type: ignore[arg-type]
        self.padding_value = float(getattr(own, "padding_value", 0))
        scale = getattr(own, "logit_scale", None)
        self.logit_scale = scale if isinstance(scale, nn.Parameter) else nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self._code, self._options = code, options
        self._fingerprint: str | None = None
        self.eval()

    def train(self, mode: bool = True) -> UserModel:
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.train(False)
        return self

    @contextlib.contextmanager
    def _calm(self) -> Iterator[None]:
        was_training = self.training
        self.eval()
        with torch.no_grad():
            yield
        self.train(was_training)

    def audio_frozen(self, wave: Tensor) -> Tensor:
        with self._calm():
            return torch.cat([self.own.audio_frozen(part) for part in split_windows(wave)])  # type: ignore[operator]

    def audio_head(self, features: Tensor) -> Tensor:
        embedded: Tensor = self.own.audio_head(features.to(_read_as(features, self.logit_scale)))  # type: ignore[operator]
        return embedded

    def text_frozen(self, texts: Sequence[str]) -> list[Tensor]:
        with self._calm():
            features: list[Tensor] = []
            for start in range(0, len(texts), FROZEN_TEXTS):
                features += self.own.text_frozen(list(texts[start : start + FROZEN_TEXTS]))  # type: ignore[operator]
        # numpy, in which they are kept, has no bfloat16.
        return [
            f.to(self.logit_scale.device, torch.float32 if f.dtype == torch.bfloat16 else f.dtype) for f in features
        ]

    def text_head(self, features: Tensor, lengths: Tensor) -> Tensor:
        features = features.to(_read_as(features, self.logit_scale))
        embedded: Tensor = self.own.text_head(features, lengths)  # type: ignore[operator]
        return embedded

    def fingerprint(self) -> str:
        """The user's own, or a hash of the code's version, the options and every tensor that is not trained."""
        if self._fingerprint is None:
            own = getattr(self.own, "fingerprint", None)
            given = own() if callable(own) else [self._code, self._options, content_hash(self.own)]
            self._fingerprint = canonical_hash([self.name, given])
        return self._fingerprint

    def module(self) -> nn.Module:
        return self

    def rebuild_config(self) -> dict[str, object]:
        return {"name": self.name, **self._options}


def _read_as(features: Tensor, scale: nn.Parameter) -> torch.dtype:
    """Cached features come in float16; whole numbers (ids) stay what they are."""
    return scale.dtype if features.is_floating_point() else features.dtype


def _build(name: str, weights: str | None, trainable: Trainable, seed: int) -> UserModel | Embedder:
    """What the factory makes. Raises InputError: no such factory, an option that it does not take, or no model."""
    factory = plugins.load(name, plugins.MODELS)
    if not callable(factory):
        raise InputError(f"{name} is no function or class that makes a model, but {type(factory).__name__}")
    given: dict[str, object] = {"weights": weights, "trainable": trainable, "seed": seed}
    taken = _options(factory)
    for option, default in OPTIONS.items():
        if option not in taken and option != "seed" and given[option] != default:
            raise InputError(f"--{option} {given[option]}: {name} takes no argument of the name {option}")
    options = {option: value for option, value in given.items() if option in taken}
    own = factory(**options)
    code = plugins.code_version(name, plugins.MODELS)
    if all(callable(getattr(own, encoder, None)) for encoder in ENCODERS):
        return Embedder(name, own, code, options)
    lacking = [part for part in NEEDED if not hasattr(own, part)]
    if lacking or not isinstance(own, nn.Module):
        what = f"lacks {', '.join(lacking)}" if lacking else "is not a torch.nn.Module"
        raise InputError(
            f"{name} returns a {type(own).__name__}, which {what}: a model that can be post-trained needs "
            f"{', '.join(NEEDED)}; one that is only scored needs {' and '.join(ENCODERS)}"
        )
    return UserModel(name, own, code, options)


def _options(factory: Callable[..., object]) -> set[str]:
    """Which of OPTIONS the factory takes."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # of a class written in C, which tells nothing
        return set()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return set(OPTIONS)
    return {p.name for p in parameters} & OPTIONS.keys()


@functools.lru_cache  # each configuration of a sweep asks
def _identity(name: str, weights: str | None, trainable: Trainable, seed: int) -> str:
    """Module, version and a digest of all weights: a factory must draw the same weights each time."""
    model = _build(name, weights, trainable, seed)
    content = canonical_hash([model.fingerprint(), content_hash(model, trained_too=True)], 16)
    return f"{plugins.code_version(name, plugins.MODELS)}, weights {content}"


def _describe(name: str, trainable: Trainable, weights: str | None) -> Listing:
    """Parameters count as audio's or text's by the name of the part of the model that holds them."""
    model = _build(name, weights, trainable, 0)

    def count(tower: str) -> Count:
        own = [p for part, p in model.module().named_parameters() if part.startswith((tower, f"own.{tower}"))]
        return Count(sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad))

    advice = "made by its own factory"
    return Listing(
        name, model.window_s, model.sample_rate_hz, trainable, count("audio"), count("text"), weights, advice
    )


def _export(model: ContrastiveModel, out: Path) -> str:
    raise InputError(f"{model.name} cannot be exported: load its checkpoint with tclap.training.checkpoint.load")


FAMILY = Family(_build, _describe, _export, identity=_identity)
