"""A model to score, by any of its names: a checkpoint folder, a built-in one, `hf:REPO`, `package.module:factory`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ValidationError

from tclap import models
from tclap.config import DataSettings, ModelSettings, OptimiserSettings, Trainable, problem_of
from tclap.data.dataset import check_folds
from tclap.errors import InputError
from tclap.experiment import Workspace
from tclap.models.protocol import ContrastiveModel
from tclap.training import checkpoint
from tclap.training.base import base_checkpoint


def _as_it_was(raw: object) -> object:
    """Data settings that an older version wrote, with what they meant then."""
    return {**DataSettings.meant_before, **raw} if isinstance(raw, dict) else raw


class _Made(BaseModel):
    data: Annotated[DataSettings, BeforeValidator(_as_it_was)]


class _Provenance(BaseModel):
    """What is read here of what a checkpoint says of its own making; each may be missing."""

    configuration: _Made | None = None
    dataset_digest: str | None = None


def is_checkpoint(name: str) -> bool:
    """Whether `name` is a checkpoint folder. Raises InputError if it is nothing that can be loaded."""
    if name in models.NAMES:
        return False
    if (Path(name) / checkpoint.CONFIG).is_file():
        return True
    if Path(name).is_dir() or name.startswith((".", "/")):
        raise InputError(f"{name} is not a tclap checkpoint: {checkpoint.CONFIG} is not there")
    try:
        models.family(name)
    except InputError as error:
        raise InputError(f"{name} is not a tclap checkpoint: {checkpoint.CONFIG} is not there; {error}") from error
    return False


def open_model(name: str, weights: str | None = None, trainable: Trainable = "paper") -> ContrastiveModel:
    """The model on the CPU. Raises InputError if it is neither a checkpoint nor pretrained, or weights are missing."""
    if is_checkpoint(name):
        refuse_choices(name, weights, trainable)
        return checkpoint.load(Path(name))
    return models.load(name, weights, trainable)


def refuse_choices(name: str, weights: str | None, trainable: Trainable = "paper") -> None:
    """Raise InputError if a checkpoint, whatever names it, is given `weights` or another cut than its own."""
    if weights is not None:
        raise InputError(f"--weights {weights}: {name} is a checkpoint, which says itself which weights it starts from")
    if trainable != "paper":
        raise InputError(f"--trainable {trainable}: {name} is a checkpoint, which says itself where it is cut")


def check_for_any_data(name: str) -> None:
    """Raise InputError if `name` is nothing that can be loaded, or is a base that is made for one dataset."""
    if not is_checkpoint(name) and models.family(name).untrained is not None:
        raise InputError(f"{name}'s base knows one dataset's classes: give a checkpoint folder, or a pretrained model")


def open_on(
    workspace: Workspace,
    name: str,
    folds: Sequence[int],
    *,
    weights: str | None = None,
    trainable: Trainable = "paper",
    train_folds: Sequence[int] = (1, 2, 3),
    base_steps: int = 100,
) -> tuple[ContrastiveModel, DataSettings]:
    """The model, and the data settings that say what it has seen of a dataset: those of its training, or the default.

    A model that is not pretrained gets its base here, on `train_folds`. Raises InputError as `open_model` does, and
    if a checkpoint was trained on one of `folds`.
    """
    if is_checkpoint(name):
        refuse_choices(name, weights, trainable)
        return checkpoint.load(Path(name)), _data_of_checkpoint(Path(name), workspace, folds)
    if models.family(name).untrained is None:
        return models.load(name, weights, trainable), DataSettings()
    try:
        base = ModelSettings(name=name, weights=weights, trainable=trainable, base=OptimiserSettings(steps=base_steps))
    except ValidationError as error:
        raise InputError(problem_of(error)) from error
    data = DataSettings(train_folds=tuple(train_folds), eval_folds=tuple(folds), test_folds=())
    check_folds(workspace.dataset, {"train_folds": data.train_folds})
    place = base_checkpoint(workspace.dataset, workspace.dataset_digest, data, base, workspace.cache)
    return checkpoint.load(place), data


def _data_of_checkpoint(folder: Path, workspace: Workspace, folds: Sequence[int]) -> DataSettings:
    """The data settings that a checkpoint was trained with, if on this dataset, else the default ones.

    Raises InputError if `folds` were among the training folds.
    """
    here = workspace.dataset_digest
    try:
        made = _Provenance.model_validate(checkpoint.read_config(folder).get("provenance", {}))
    except ValidationError as error:
        raise InputError(f"{folder / checkpoint.CONFIG} does not say what the checkpoint was trained on") from error
    if made.configuration is None or made.dataset_digest not in (None, here):
        return DataSettings()
    data = made.configuration.data
    seen = sorted(set(data.train_folds) & set(folds))
    if seen:
        raise InputError(f"{folder} was trained on fold {seen[0]} of this dataset; score it on other --folds")
    return data
