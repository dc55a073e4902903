"""A post-trained model as its own package reads it: msclap's .pth, or a folder for transformers."""

from __future__ import annotations

from pathlib import Path

import torch

from tclap.errors import InputError
from tclap.models import laion, msclap
from tclap.models.protocol import ContrastiveModel
from tclap.models.split import SplitClap


def export(model: ContrastiveModel, out: Path) -> str:
    """Write the whole model, trained and frozen part, into the folder `out`; returns the Python line that loads it.

    Raises InputError for a model that no package but this one knows, and where `out` holds anything already.
    """
    if not isinstance(model, SplitClap):
        raise InputError(f"{model.name} cannot be exported: no other package knows it (msclap and laion models can be)")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not an empty folder; choose another or delete it")
    out.mkdir(parents=True, exist_ok=True)
    if model.name == laion.NAME:
        laion.save_pretrained(model, out)
        return f'transformers.ClapModel.from_pretrained("{out}")'
    file = out / msclap.files(model.name)[0]
    torch.save({"model": model.clap.state_dict()}, file)
    return f'msclap.CLAP(model_fp="{file}", version="{model.name.removeprefix("msclap-")}")'
