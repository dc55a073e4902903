"""Where everything of a sweep lives below its storage, and how it is read and written there (design 7.4).

STORAGE is a folder that every node sees, or an s3:// URL; then there is no MLflow store in it, and of `cache/` and
`data/` it holds copies for the caches on the nodes' own disks (`cache.py`).

STORAGE/
    mlflow.db, mlartifacts/      the default MLflow store
    cache/                       frozen features, base models, which clips were found usable; shared by every sweep
    data/                        synthetic datasets
    NAME/                        one sweep
        trials/<config_hash>/seed-<n>/result.json, details.json, checkpoint/; state.pt while it is trained
        sweep.json               what its name stands for
        live.json                how its jobs are, while its driver runs
        stop, paused.json, excluded.json   what people ask of it: sweep/steering.py
        rungs/<number>/<config_hash>.json  with --stop-early: what each trial scored there, and whether it went on
        ray/                     Ray's own run files
        table4.csv, .md, .html, .png
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ParamSpec

from pydantic import AfterValidator, BeforeValidator
from upath import UPath

from tclap.config import Configuration, config_hash
from tclap.errors import InputError

P = ParamSpec("P")
# What a file server or an object store says that is away; s3fs makes EIO and EREMOTEIO of a store's own failures.
AWAY = frozenset(
    getattr(errno, name)
    for name in ("EIO", "EREMOTEIO", "ESTALE", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH", "ECONNRESET")
    if hasattr(errno, name)
)
RESULT, DETAILS, STATE = "result.json", "details.json", "state.pt"
Place = Path | UPath  # a UPath of a local folder is a Path, too


def _no_url(given: object) -> object:
    """A Path made of a URL would be a folder of this machine that is named `s3:`."""
    if "://" in str(given):
        raise ValueError("a URL; this needs a file or folder that this machine sees")
    return given


# Of a flag: no shell expands `~` in `--data=~/esc50`, or in a variable that a file sets.
UserPath = Annotated[Path, BeforeValidator(_no_url), AfterValidator(lambda path: Path(os.path.expanduser(path)))]
UserPlace = Annotated[UPath, BeforeValidator(lambda text: at(str(text)))]  # or an s3:// URL
PathOrName = Annotated[str, AfterValidator(os.path.expanduser)]  # a checkpoint folder, or another name of a model


def at(text: str) -> UPath:
    """The place that a path or a URL names; `~` is the home folder, which no shell expands in `--storage=~/runs`."""
    # Other nodes write there, so a listing must not be remembered.
    return UPath(text, use_listings_cache=False) if "://" in text else UPath(os.path.expanduser(text))


def is_local(place: Place) -> bool:
    return isinstance(place, Path)


def local_folder(storage: Place) -> Path:
    """`storage` itself. Raises InputError where it is a URL, for what works on a folder of this machine alone."""
    if isinstance(storage, Path):
        return storage
    raise InputError(f"--storage {storage}: this needs a folder; URLs are for sweeps")


@contextmanager
def staged(place: Place) -> Iterator[Path]:
    """A local folder to write into: `place` itself, or one whose files are uploaded to it however the block ends."""
    if isinstance(place, Path):
        place.mkdir(parents=True, exist_ok=True)
        yield place
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            yield Path(scratch)
        finally:
            for file in sorted(path for path in Path(scratch).rglob("*") if path.is_file()):
                target = place.joinpath(*file.relative_to(scratch).parts)
                target.fs.put_file(str(file), target.path)


@contextmanager
def fetched(place: Place) -> Iterator[Path]:
    """A local folder with the files of the folder `place`: itself, or a copy that lasts as long as the block."""
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory() as scratch:
        for file in (path for path in place.iterdir() if path.is_file()):
            with file.open("rb") as source, (Path(scratch) / file.name).open("wb") as target:
                shutil.copyfileobj(source, target)
        yield Path(scratch)


def cache_folder(storage: Path) -> Path:
    return storage / "cache"


def trials_folder(sweep: Place) -> Place:
    return sweep / "trials"


def seed_folder(sweep: Place, configuration: Configuration, seed: int) -> Place:
    return seed_folder_of(sweep, config_hash(configuration), seed)


def seed_folder_of(sweep: Place, config_hash: str, seed: int) -> Place:
    """The same for a configuration of which only the name is known."""
    return trials_folder(sweep) / config_hash / f"seed-{seed}"


def checkpoint_folder(sweep: Place, configuration: Configuration, seed: int) -> Place:
    return seed_folder(sweep, configuration, seed) / "checkpoint"


def write_atomically(path: Place, text: str) -> None:
    """Write `text` so that a reader, or a kill, never meets half of it."""
    if not isinstance(path, Path):
        path.write_text(text, encoding="utf-8")  # one PUT
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}-{uuid.uuid4().hex}")  # not of tempfile, whose files only their owner reads
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)


def stop_file(sweep: Place) -> Place:
    """Where it exists, the sweep's trials checkpoint and end: its driver was interrupted."""
    return sweep / "stop"


def stop_requested(sweep: Place) -> bool:
    return stop_file(sweep).exists()


def does_not_answer(error: BaseException) -> bool:
    """Whether storage failed for a reason that passes: a file server or an object store that is away for a while."""
    botocore: Any = sys.modules.get("botocore.exceptions")  # where there is none, no store was asked
    if botocore and isinstance(error, (botocore.ConnectionError, botocore.HTTPClientError)):
        return True
    return isinstance(error, OSError) and error.errno in AWAY


def unless_away(look: Callable[P, bool], otherwise: bool) -> Callable[P, bool]:
    """`look`, but `otherwise` while the storage does not answer."""

    @functools.wraps(look)
    def looked(*args: P.args, **kwargs: P.kwargs) -> bool:
        try:
            return look(*args, **kwargs)
        except Exception as error:
            if not does_not_answer(error):
                raise
            return otherwise

    return looked


def check_writable(folder: Place) -> None:
    """Make `folder`; raise InputError, naming it, where nothing can be written there."""
    if not isinstance(folder, Path):
        _check_object_store(folder)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"storage folder {folder} cannot be written to: {error.strerror}") from error


def check_new_folder(out: Path) -> None:
    """Raise InputError, naming it, unless `out` is an empty folder or can be made; makes nothing."""
    try:
        if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} is not an empty folder; choose another or delete it")
        _check_takes_files(out)
    except OSError as error:
        raise InputError(f"{out} cannot be written to: {error.strerror}") from error


def check_new_file(file: Path) -> None:
    """Raise InputError, naming it, if `file` could not be written at the end of a long computation; makes nothing."""
    try:
        if file.is_dir():
            raise InputError(f"{file} is a folder: name a file")
        _check_takes_files(file.parent)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from error


def _check_takes_files(folder: Path) -> None:
    """Raise OSError if nothing can be written into `folder`, or into the one in which it would be made."""
    absolute = folder.absolute()
    there = next(place for place in (absolute, *absolute.parents) if os.path.lexists(place))
    with tempfile.TemporaryFile(dir=there):
        pass


def _check_object_store(folder: UPath) -> None:
    import botocore.exceptions  # slow, and for nothing without a URL

    probe = folder / f".writable-{os.getpid()}"
    try:
        probe.write_text("", encoding="utf-8")
        probe.unlink()
    except ImportError as error:
        raise InputError(f"storage {folder}: {error}") from error
    except (OSError, ValueError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise InputError(
            f"storage {folder} cannot be written to: {error}; credentials and endpoint are AWS's own settings, "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL and so on"
        ) from error
