"""What is checked before anything starts: each problem is one line that names what is wrong and what would be right."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tclap.config import Configuration
from tclap.console import console
from tclap.data.dataset import decode_problems, raise_problems, read_index
from tclap.errors import InputError
from tclap.evaluation.captioned import find_clips, read_captions
from tclap.experiment import check
from tclap.flags import SweepSettings
from tclap.places import Place, is_local


def check_outlives_job(storage: Place) -> None:
    # Set by Ray in the environment of a job's command.
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and is_local(storage) and not storage.is_absolute():
        raise InputError(
            f"--storage {storage} is in the job's folder and would vanish with it: give a folder that every node sees, "
            "or set TCLAP_STORAGE where Ray starts"
        )


def check_dry(settings: SweepSettings, configurations: Sequence[Configuration]) -> None:
    """What a dry run checks of the dataset that is given, if it is there already."""
    if settings.data is not None and settings.data.exists():
        check_dataset(settings.data, configurations)
    elif settings.data is not None:
        console.print(f"note: {settings.data} does not exist yet, so folds and batch sizes are not checked")


def check_dataset(data: Path, configurations: Sequence[Configuration]) -> None:
    dataset = read_index(data)
    for configuration in configurations:
        check(dataset, configuration)


def check_retrieval(settings: SweepSettings) -> None:
    for name, (folder, csv) in settings.retrieval_sets().items():
        missing = find_clips(folder, read_captions(csv)).missing
        if missing:
            console.print(f"retrieval {name}: {len(missing)} clips missing in {folder}", markup=False)
            if not settings.allow_missing:
                raise InputError(f"{folder} lacks {len(missing)} clips of {csv}; --allow-missing goes on without them")


def check_ray_listens() -> None:
    """Raise InputError if RAY_ADDRESS names a host and port at which nobody listens: Ray would try for minutes."""
    address = os.environ.get("RAY_ADDRESS", "")
    named = urlsplit(address if "//" in address else f"//{address}")  # local and auto name no port
    if named.hostname and named.port:
        try:
            socket.create_connection((named.hostname, named.port), timeout=10).close()
        except OSError as error:
            raise InputError(f"no Ray cluster at RAY_ADDRESS={address}: {error}") from error


def decode_retrieval_clips(settings: SweepSettings) -> None:
    """Raise InputError naming the clips that cannot be used: each trial would find them only after its training."""
    for name, (folder, csv) in settings.retrieval_sets().items():
        problems = decode_problems(find_clips(folder, read_captions(csv)).paths)
        if settings.allow_missing and problems:
            console.print(f"retrieval {name}: without {'; '.join(problems.values())}", markup=False)
        else:
            raise_problems(folder, problems.values())
