"""What `tclap models` lists: parameters of each tower, and whether its weights are here. No weights, no downloads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tclap.config import Trainable
from tclap.errors import InputError
from tclap.models import NAMES, weights


@dataclass(frozen=True)
class Count:
    """Parameters of a tower; `trained` are those that post-training may change, without `logit_scale`."""

    total: int
    trained: int


@dataclass(frozen=True)
class Listing:
    """One line of `tclap models`."""

    name: str
    window_s: float
    sample_rate_hz: int
    trainable: Trainable
    audio: Count
    text: Count
    weights: str | None  # the file, where it is found
    advice: str  # where the weights come from and how to pass them


def describe(name: str, trainable: Trainable = "paper", weights_path: str | None = None) -> Listing:
    """Counts on the real architecture, built with unset weights. Raises InputError for an unknown name."""
    if name == "mini":
        from tclap.data.captions import vocabulary
        from tclap.models.mini import Mini

        mini = Mini(vocabulary(()))
        parts = dict(mini.named_children())
        audio = [module for part, module in parts.items() if part.startswith("audio")]
        text = [module for part, module in parts.items() if part.startswith(("text", "word"))]
        positions = mini.audio_position.numel(), mini.text_position.numel()
        counts = [
            Count(count.total + extra, count.trained + extra)
            for count, extra in zip((_count(audio), _count(text)), positions, strict=True)
        ]
        advice = "trained here on the training folds; a word of a class name adds 128 text parameters"
        return Listing(name, mini.window_s, mini.sample_rate_hz, "paper", counts[0], counts[1], None, advice)
    if name not in NAMES:
        raise InputError(f"unknown model {name!r}; known models: {', '.join(NAMES)}")
    if name == "laion":
        from tclap.models import laion

        model, repo, files = laion.skeleton(trainable), laion.REPO, laion.FILES
    else:
        from tclap.models import msclap

        model, repo, files = msclap.skeleton(name, trainable), msclap.REPO, msclap.files(name)
    return Listing(
        name,
        model.window_s,
        model.sample_rate_hz,
        trainable,
        _count(model.audio.parts.whole),
        _count(model.text.parts.whole),
        _found(name, weights_path, repo, files),
        f"{weights.HUB}/{repo}/resolve/main/{files[0]}, or --weights PATH",
    )


def _found(name: str, weights_path: str | None, repo: str, files: tuple[str, ...]) -> str | None:
    if weights_path is None:
        here: Path | None = weights.cached(repo, files)
    else:
        try:
            here = weights.locate(name, weights_path, repo, files, "")
        except InputError:
            here = None
    return None if here is None else str(here)


def _count(modules: Iterable[nn.Module]) -> Count:
    parameters = [p for module in modules for p in module.parameters()]
    return Count(sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad))
