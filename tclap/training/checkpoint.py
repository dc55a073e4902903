"""Checkpoints: a folder of `model.safetensors` (trainable tensors only) and `config.json` to rebuild the rest."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tclap import models
from tclap.errors import InputError
from tclap.models.protocol import ContrastiveModel, trainable_parameters

TENSORS, CONFIG = "model.safetensors", "config.json"


def save(folder: Path, model: ContrastiveModel, provenance: Mapping[str, object]) -> None:
    """Write a checkpoint; `folder` appears whole or not at all, and replaces an older one.

    provenance: JSON-able facts about how the model came to be, kept beside it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        filled = Path(scratch) / folder.name
        filled.mkdir()
        write(filled, model, provenance)
        if folder.exists():
            shutil.rmtree(folder)
        filled.rename(folder)


def write(folder: Path, model: ContrastiveModel, provenance: Mapping[str, object]) -> None:
    """Write the files of a checkpoint into the empty `folder`, for a caller who sees to it that it appears whole."""
    tensors = {name: p.detach().cpu().contiguous() for name, p in trainable_parameters(model).items()}
    save_file(tensors, folder / TENSORS)
    config = {
        "model": model.rebuild_config(),
        "fingerprint": model.fingerprint(),
        "provenance": dict(provenance),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")


def load(folder: Path) -> ContrastiveModel:
    """The full model of a checkpoint, on the CPU in eval mode.

    Raises InputError: not a checkpoint, of another base model, or with missing, extra or misshapen tensors.
    """
    try:
        model = models.build(read_config(folder)["model"])  # type: ignore[arg-type]
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"{folder / CONFIG} describes a model that cannot be built: {error}") from error
    load_into(model, folder)
    model.module().eval()
    return model


def read_config(folder: Path) -> dict[str, object]:
    """The checkpoint's `config.json`. Raises InputError where it is no checkpoint."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder} is not a tclap checkpoint: {CONFIG} cannot be read ({error})") from error
    if not isinstance(config, dict) or not {"model", "fingerprint"} <= config.keys():
        raise InputError(f"{folder / CONFIG} is not a tclap checkpoint's: it lacks model or fingerprint")
    return config


def load_into(model: ContrastiveModel, folder: Path) -> None:
    """Copy a checkpoint's tensors into `model`. Raises InputError as `load` does."""
    theirs = read_config(folder)["fingerprint"]
    if theirs != model.fingerprint():
        raise InputError(
            f"{folder} is a checkpoint of another base model or vocabulary (fingerprint {theirs}); "
            f"this {model.name} has {model.fingerprint()}"
        )
    try:
        tensors = load_file(folder / TENSORS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / TENSORS} cannot be read: {error}") from error
    parameters = trainable_parameters(model)
    wrong = [f"{name} missing" for name in parameters.keys() - tensors.keys()]
    wrong += [f"{name} not of this model" for name in tensors.keys() - parameters.keys()]
    wrong += [
        f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(p.shape)}"
        for name, p in parameters.items()
        if name in tensors and tensors[name].shape != p.shape
    ]
    if wrong:
        raise InputError(f"{folder / TENSORS} does not fit {model.name}: {'; '.join(sorted(wrong))}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
