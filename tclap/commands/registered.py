"""A model to ask, by any of its names: those of `tclap.scored`, and `models:/tclap@champion`, which MLflow keeps."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tclap.config import Trainable
from tclap.models.protocol import ContrastiveModel
from tclap.scored import check_for_any_data, open_model, refuse_weights
from tclap.training import checkpoint

REGISTRY = "models:/"
STORAGE = "where models:/... is looked up; MLFLOW_TRACKING_URI beats it"  # of the flag --storage


def check_name(name: str) -> None:
    """Raise InputError if `name` is nothing that can be loaded, or is a base that is made for one dataset.

    A registered model is looked for when it is opened.
    """
    if not name.startswith(REGISTRY):
        check_for_any_data(name)


def open_any(name: str, storage: Path, weights: str | None = None, trainable: Trainable = "paper") -> ContrastiveModel:
    """The model on the CPU. Raises InputError as `open_model` does, and if it is no model that `tclap best` registered.

    storage: the folder whose MLflow store is asked for a registered model.
    """
    if not name.startswith(REGISTRY):
        return open_model(name, weights, trainable)
    refuse_weights(name, weights)
    # MLflow takes seconds to import.
    from tclap.tracking.champion import fetch
    from tclap.tracking.read import existing_store

    with tempfile.TemporaryDirectory() as scratch:
        return checkpoint.load(fetch(name, existing_store(storage)[2], Path(scratch)))
