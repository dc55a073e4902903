"""Pretrained weights: where they lie, and reading them without unpickling anything but tensors.

Every problem is one InputError line that names the file, where it comes from and where to place it.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tclap.errors import InputError

RANDOM = "random"
HUB = "https://huggingface.co"
HUB_TIMEOUT_S = 10.0
# What torch.load raises over other files: a web page, a pointer of Git LFS, half a download.
NOT_TORCHS: tuple[type[Exception], ...] = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
)
NOT_TORCHS += (ImportError, pickle.UnpicklingError)
# What a pickled numpy.float64 consists of; torch refuses all three unless they are named.
NUMPY_NUMBERS = [np.core.multiarray.scalar, np.dtype, type(np.dtype(np.float64))]  # type: ignore[attr-defined]


def locate(model: str, weights: str | None, repo: str, files: tuple[str, ...], placing: str) -> Path:
    """The file of `model`'s weights: `weights` itself, one of `files` in that folder, or the hub's.

    files: names in the order of preference. placing: completes "place ...", for who must do it by hand. Raises
    InputError where there is none and the hub cannot be reached.
    """
    if weights is not None:
        path = Path(weights).expanduser()
        if path.is_file():
            return path
        if path.is_dir():
            for file in files:
                if (path / file).is_file():
                    return path / file
        raise InputError(
            f"{path} has no weights for {model}: place {' or '.join(files)} of {HUB}/{repo}/tree/main there"
        )
    found = cached(repo, files)
    if found is not None:
        return found
    require_hub(f"{files[0]} for {model}", f"{repo}/resolve/main/{files[0]}", placing)
    return _download(model, repo, files)


def found_from_anywhere(weights: str | None) -> str | None:
    """`weights` as a checkpoint keeps them, which may be loaded from any folder: a whole path, or None for the hub."""
    return None if weights is None else str(Path(weights).expanduser().resolve())


def cached(repo: str, files: Iterable[str]) -> Path | None:
    """The first of `files` in the hub's local cache."""
    from huggingface_hub import try_to_load_from_cache

    for file in files:
        found = try_to_load_from_cache(repo, file)
        if isinstance(found, str):
            return Path(found)
    return None


def beside(path: Path, repo: str | None, file: str) -> Path | None:
    """`file` in the folder of `path`; else, if that is the hub's cache of `repo`, from the hub. None if it has none."""
    if (path.parent / file).is_file():
        return path.parent / file
    if repo is None:
        return None
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    if try_to_load_from_cache(repo, file) is _CACHED_NO_EXIST:  # the hub said so before
        return None
    require_hub(f"{file} of {repo}", f"{repo}/resolve/main/{file}", f"it in {path.parent}")
    try:
        return Path(hf_hub_download(repo, file))
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(f"could not download {file} of {HUB}/{repo}: {line_of(error)}") from error


def require_hub(what: str, page: str, placing: str) -> None:
    """Raise InputError at once where the hub cannot be reached; its own client retries for half a minute.

    placing: completes "place ...": what to do by hand.
    """
    import requests
    from huggingface_hub import constants
    from huggingface_hub.utils import OfflineModeIsEnabled, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_TIMEOUT_S)
    except (requests.RequestException, OfflineModeIsEnabled, OSError) as error:
        reason = "offline mode" if isinstance(error, OfflineModeIsEnabled) else type(error).__name__
        raise InputError(
            f"{what} is not here and the Hugging Face hub cannot be reached ({reason}): "
            f"get it from {HUB}/{page} and place {placing}"
        ) from error


def _download(model: str, repo: str, files: tuple[str, ...]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    problem: Exception | None = None
    for file in files:
        try:
            return Path(hf_hub_download(repo, file))
        except EntryNotFoundError as error:
            problem = error
        except (HfHubHTTPError, OSError, ValueError) as error:
            problem = error
            break
    raise InputError(
        f"could not download {files[0]} for {model} ({type(problem).__name__}): "
        f"get it from {HUB}/{repo}/resolve/main/{files[0]} and pass --weights PATH"
    ) from problem


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a torch file (plain, or under "model" or "state_dict"), memory-mapped.

    Raises InputError: truncated, not such a file, or holding anything but tensors. Nothing is unpickled but tensors,
    plain containers (`weights_only=True`) and numpy's numbers, which LAION's files hold beside their tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} is truncated or no safetensors file: {line_of(error)}") from error
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(NUMPY_NUMBERS):
            warnings.simplefilter("ignore")  # of a pickle protocol that is refused below
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} is no file of plain tensors, so it is not read (nothing was unpickled)") from error
    except NOT_TORCHS as error:
        raise InputError(f"{path} is truncated or no torch file: {line_of(error)}") from error
    for wrapper in ("model", "state_dict"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path} holds no state dict: a mapping of names to tensors is needed")
    return {str(name): tensor for name, tensor in state.items()}


def fill(module: nn.Module, state: Mapping[str, Tensor], model: str, path: Path) -> None:
    """Copy `state` into `module`. Raises InputError where it is another architecture's.

    Everything learned must be there with its shape: parameters and batch-norm statistics. Constants that the
    architecture computes for itself (Fourier and mel matrices, position indices) may be missing, and tensors that
    the architecture does not have are left aside, as msclap itself does.
    """
    learned = {name for name, p in module.named_parameters() if p.requires_grad}
    learned |= {name for name, _ in module.named_buffers() if name.endswith(("running_mean", "running_var"))}
    own = module.state_dict()
    missing = sorted(learned - state.keys())
    misshapen = sorted(name for name in own.keys() & state.keys() if own[name].shape != state[name].shape)
    if missing or misshapen:
        wrong = [f"{name} is missing" for name in missing]
        wrong += [f"{name} is {tuple(state[name].shape)}, not {tuple(own[name].shape)}" for name in misshapen]
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(f"{path} is not a checkpoint of {model}: {'; '.join(wrong[:3])}{more}")
    module.load_state_dict({name: tensor for name, tensor in state.items() if name in own}, strict=False)


def line_of(error: Exception) -> str:
    """The beginning of what an error says, or its kind."""
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
