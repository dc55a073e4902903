"""Models by name. Each family is imported when it is asked for: the packages of the real ones take seconds to load."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import torch

from tclap import plugins
from tclap.config import BUILT_IN_MODELS, HUB_PREFIX, ModelSettings, Trainable, unknown_model
from tclap.errors import InputError
from tclap.models.family import Family
from tclap.models.protocol import ContrastiveModel

NAMES: tuple[str, ...] = tuple(BUILT_IN_MODELS)


def family(name: str) -> Family:
    """Who makes the model `name`: each family's module holds its answers as FAMILY. Raises InputError."""
    if name in BUILT_IN_MODELS:
        module = f"tclap.models.{name.partition('-')[0]}"
    elif name.startswith(HUB_PREFIX):
        module = "tclap.models.laion"
    elif plugins.reference(name, plugins.MODELS) is not None:
        module = "tclap.models.user"
    else:
        raise InputError(unknown_model(name))
    made: Family = importlib.import_module(module).FAMILY
    return made


def best_device() -> str:
    """Where a model runs that no lane of a sweep places: on the GPU, if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def build(rebuild_config: Mapping[str, object]) -> ContrastiveModel:
    """The architecture that a checkpoint's `rebuild_config` describes, with its base weights if it has some.

    Raises InputError for an unknown name, and if base weights are missing or unusable.
    """
    arguments = dict(rebuild_config)
    name = str(arguments.pop("name", None))
    rebuild = family(name).rebuild
    if rebuild is not None:
        return rebuild(arguments)
    return load(name, **arguments)  # type: ignore[arg-type]


def load(name: str, weights: str | None = None, trainable: Trainable = "paper", seed: int = 0) -> ContrastiveModel:
    """A pretrained model by name, on the CPU in eval mode.

    weights: a local file or folder, None for the hub, or "random" for an untrained base drawn from `seed` (which is
    marked `untrained`). Raises InputError as `tclap.models.weights` does, and for a model that is not pretrained.
    """
    return family(name).load(name, weights, trainable, seed)


def identified(settings: ModelSettings) -> ModelSettings:
    """`settings` with the identity of a model from outside this package, so that its version and weights are hashed.

    A built-in model and one of the hub are named by their names. Raises InputError as `load` does.
    """
    if settings.name in BUILT_IN_MODELS:
        return settings
    found = family(settings.name).identity(settings.name, settings.weights, settings.trainable, settings.base_seed)
    return settings if found is None else settings.model_copy(update={"identity": found})
