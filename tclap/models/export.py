"""A post-trained model as its own package reads it: msclap's .pth, or a folder for transformers."""

from __future__ import annotations

from pathlib import Path

from tclap import models
from tclap.errors import InputError
from tclap.models.protocol import ContrastiveModel


def export(model: ContrastiveModel, out: Path) -> str:
    """Write the whole model, trained and frozen part, into the folder `out`; returns the Python line that loads it.

    Raises InputError for a model that no package but this one knows, and if `out` holds anything already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not an empty folder; choose another or delete it")
    return models.family(model.name).export(model, out)
