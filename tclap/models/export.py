"""A post-trained model as its own package reads it: msclap's .pth, or a folder for transformers."""

from __future__ import annotations

from pathlib import Path

from tclap import models
from tclap.models.protocol import ContrastiveModel
from tclap.places import check_new_folder


def export(model: ContrastiveModel, out: Path) -> str:
    """Write the whole model, trained and frozen part, into the folder `out`; returns the Python line that loads it.

    Raises InputError for a model that no package but this one knows, and if `out` holds anything already.
    """
    check_new_folder(out)
    return models.family(model.name).export(model, out)
