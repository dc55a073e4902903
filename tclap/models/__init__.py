"""Models by name."""

from __future__ import annotations

from collections.abc import Mapping

from tclap.errors import InputError
from tclap.models.base import ContrastiveModel
from tclap.models.mini import Mini

NAMES = ("mini",)


def build(rebuild_config: Mapping[str, object]) -> ContrastiveModel:
    """The architecture that a checkpoint's `rebuild_config` describes, with its base weights where it has some.

    Raises InputError for a name that is not one of `NAMES`.
    """
    arguments = dict(rebuild_config)
    name = arguments.pop("name", None)
    if name == "mini":
        return Mini(**arguments)  # type: ignore[arg-type]
    raise InputError(f"unknown model {name!r}; known models: {', '.join(NAMES)}")
