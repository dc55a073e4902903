"""What every family of models answers: load, start of a base, counts, export. `tclap.models.family` finds a name's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tclap.config import Trainable
from tclap.models.protocol import ContrastiveModel


@dataclass(frozen=True)
class Count:
    """Parameters of a tower; `trained` are those that post-training may change, without `logit_scale`."""

    total: int
    trained: int


@dataclass(frozen=True)
class Listing:
    """One model as `tclap models` lists it."""

    name: str
    window_s: float
    sample_rate_hz: int
    trainable: Trainable
    audio: Count
    text: Count
    weights: str | None  # the file, if it is found
    advice: str  # where the weights come from and how to pass them


@dataclass(frozen=True)
class Family:
    """One way of making models; the `name` that its functions take is a model's, of which a family may have several.

    Every function raises InputError for what the user got wrong: weights that are missing or of another model, an
    option that the family does not have.
    """

    load: Callable[[str, str | None, Trainable, int], ContrastiveModel]
    """(name, weights, trainable, seed) -> the pretrained model on the CPU in eval mode."""

    describe: Callable[[str, Trainable, str | None], Listing]
    """(name, trainable, weights) -> counts on the real architecture and whether its weights are here."""

    export: Callable[[ContrastiveModel, Path], str]
    """Write the whole model into an empty folder as its own package reads it; the Python line that loads it."""

    rebuild: Callable[[Mapping[str, object]], ContrastiveModel] | None = None
    """The architecture from a model's `rebuild_config` without the name; None: `load` takes just these arguments."""

    identity: Callable[[str, str | None, Trainable, int], str | None] = lambda *_: None
    """(name, weights, trainable, seed) -> what the model is besides these, for `config_hash`: version and weights."""

    untrained: Callable[[Sequence[str], int], ContrastiveModel] | None = None
    """(class names, seed) -> a start whose base is trained here, on a dataset; None: the family comes pretrained."""


def count(modules: Iterable[nn.Module]) -> Count:
    """Over all parameters of `modules`."""
    parameters = [p for module in modules for p in module.parameters()]
    return Count(sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad))
