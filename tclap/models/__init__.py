"""Models by name. The real ones are imported where they are asked for: their packages take seconds to load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from tclap.config import ModelName, Trainable
from tclap.errors import InputError
from tclap.models.mini import Mini
from tclap.models.protocol import ContrastiveModel

NAMES: tuple[str, ...] = get_args(ModelName)


def build(rebuild_config: Mapping[str, object]) -> ContrastiveModel:
    """The architecture that a checkpoint's `rebuild_config` describes, with its base weights where it has some.

    Raises InputError for a name that is not one of `NAMES`, and where base weights are missing or unusable.
    """
    arguments = dict(rebuild_config)
    name = arguments.pop("name", None)
    if name == "mini":
        return Mini(**arguments)  # type: ignore[arg-type]
    if name in NAMES:
        return load(str(name), **arguments)  # type: ignore[arg-type]
    raise InputError(f"unknown model {name!r}; known models: {', '.join(NAMES)}")


def load(name: str, weights: str | None = None, trainable: Trainable = "paper", seed: int = 0) -> ContrastiveModel:
    """A pretrained model by name, on the CPU in eval mode.

    weights: a local file or folder, None for the hub, or "random" for an untrained base drawn from `seed` (which is
    marked `untrained`). Raises InputError as `tclap.models.weights` does.
    """
    if name.startswith("msclap-") and name in NAMES:
        from tclap.models import msclap

        return msclap.build(name, weights, trainable, seed)
    if name == "laion":
        from tclap.models import laion

        return laion.build(weights, trainable, seed)
    known = ", ".join(n for n in NAMES if n != "mini")
    raise InputError(f"{name!r} is not a pretrained model; they are {known} (mini's base is trained here)")
