"""A model to ask, by any of its names: those of `tclap.scored`, and `models:/tclap@champion`, which MLflow keeps."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tclap.config import Trainable
from tclap.models.protocol import ContrastiveModel
from tclap.scored import check_for_any_data, open_model, refuse_choices

REGISTRY = "models:/"
STORAGE = "where models:/... is looked up; MLFLOW_TRACKING_URI beats it"  # of the flag --storage


def check_name(name: str) -> None:
    """Raise InputError if `name` is nothing that can be loaded, or is a base that is made for one dataset.

    A registered model is looked for when it is opened.
    """
    if not name.startswith(REGISTRY):
        check_for_any_data(name)


@contextlib.contextmanager
def fetched(
    name: str,
    storage: Path,
    weights: str | None = None,
    trainable: Trainable = "paper",
    below: Path | None = None,
) -> Iterator[str]:
    """A name that `tclap.scored` opens: of a registered model its checkpoint folder, there meanwhile; else `name`.

    storage: the folder whose MLflow store is asked for a registered model. below: where its folder is put.
    Raises InputError if it is no model that `tclap best` registered, or it is given weights or another cut.
    """
    if not name.startswith(REGISTRY):
        yield name
        return
    refuse_choices(name, weights, trainable)
    # MLflow takes seconds to import.
    from tclap.tracking.champion import fetch
    from tclap.tracking.read import existing_store

    uri = existing_store(storage)[2]
    with tempfile.TemporaryDirectory(dir=below) as scratch:
        yield str(fetch(name, uri, Path(scratch)))


def open_any(name: str, storage: Path, weights: str | None = None, trainable: Trainable = "paper") -> ContrastiveModel:
    """The model on the CPU. Raises InputError as `fetched` and `open_model` do."""
    with fetched(name, storage, weights, trainable) as place:
        return open_model(place, weights, trainable)
