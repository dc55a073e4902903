"""What can be checked before a sweep's parent run exists: each function returns, or raises InputError in one line.

The order of a start: `check_outlives_job`, places.check_writable, `check_dataset`, `shared_recordings`,
`check_retrieval`; then `check_ray_address`, `check_socket_path`, `decode_retrieval_clips` and `check_tracking`, none of
which starts Ray; then `connect_ray` and `check_room`. Only after these is there a parent run, so none is left FAILED.
"""

from __future__ import annotations

import difflib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import RayError

from tclap.config import Configuration, DataSettings
from tclap.console import console
from tclap.data.audio import decode_problems, raise_problems
from tclap.data.dataset import digest, shared_recordings_note
from tclap.data.layouts import read_index
from tclap.data.synth import default_place
from tclap.errors import InputError
from tclap.evaluation.captioned import find_clips, read_captions
from tclap.experiment import check
from tclap.flags import SweepSettings
from tclap.places import Place, is_local
from tclap.redact import without_passwords
from tclap.sweep.claim import CLAIM, check_name
from tclap.sweep.ledger import Ledger, read_ledger
from tclap.tracking import runs as tracking

LONGEST_SOCKET_PATH = 107  # bytes; the system's limit
SOCKET = "ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"  # below RAY_TMPDIR or TMPDIR
RAY_ANSWERS_S = 180.0  # starting Ray on a slow disk takes a minute
PROBE_S = 2.0
# Not AssertionError: that is a bug, of Ray or ours, and its traceback is wanted.
RAY_ERRORS = (RayError, OSError, ValueError, RuntimeError, TypeError, KeyError, ImportError)


def check_outlives_job(storage: Place) -> None:
    """Raise InputError if a Ray job's results would vanish with it."""
    # Set by Ray in the environment of a job's command.
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and is_local(storage) and not storage.is_absolute():
        raise InputError(
            f"--storage {storage} is in the job's folder and would vanish with it: give a folder that every node sees, "
            "or set TCLAP_STORAGE where Ray starts"
        )


def say_unknown_variables(settings: SweepSettings, environment: Mapping[str, str]) -> None:
    """Print a line for each TCLAP_ variable that is nearly a flag's: nobody reads it, so the default counts."""
    prefix = str(settings.model_config["env_prefix"])
    flags = [f"{prefix}{name}".upper() for name in type(settings).model_fields]
    for name in sorted(name for name in environment if name.upper().startswith(prefix) and name.upper() not in flags):
        near = difflib.get_close_matches(name.upper(), flags, n=1, cutoff=0.85)
        if near:
            console.print(f"note: {name} sets no flag of this sweep; did you mean {near[0]}?", style="yellow")


def check_dataset(data: Path, configurations: Sequence[Configuration]) -> None:
    """Raise InputError if folds or batch sizes do not fit the dataset at `data`; reads no audio."""
    dataset = read_index(data)
    for configuration in {(c.data, c.batch_size): c for c in configurations}.values():
        check(dataset, configuration)


def check_dry(settings: SweepSettings, configurations: Sequence[Configuration]) -> Ledger:
    """What a dry run checks: the name, and the dataset if it is there. Returns what counts as done.

    That is nothing if the dataset that is given does not exist: what was done under the name is of another one. Raises
    InputError as the sweep itself would.
    """
    say_unknown_variables(settings, os.environ)
    folder, identity = settings.sweep_folder, settings.identity()
    # Below a URL the synthetic dataset is on each node's own disk.
    default = default_place(settings.storage) if isinstance(settings.storage, Path) else None
    data = settings.data or default
    there = data is not None and data.exists()
    if there and data is not None:
        check_dataset(data, configurations)
        if (folder / CLAIM).exists():
            identity["dataset"] = digest(read_index(data))
    unknown = () if "dataset" in identity else ("dataset",)
    check_name(folder, identity, settings.meant_before(), settings.may_grow, unknown)
    if settings.data is None or there:
        return read_ledger(folder, settings.stop_early)
    unchecked = "folds and batch sizes are not checked, and nothing counts as done"
    console.print(f"note: {settings.data} does not exist yet, so {unchecked}")
    return Ledger(folder)


def shared_recordings(data: Path, settings: DataSettings) -> str | None:
    """One line on the recordings that have clips in more than one of the three fold sets; None if none has."""
    sets = {"train_folds": settings.train_folds, "eval_folds": settings.eval_folds, "test_folds": settings.test_folds}
    return shared_recordings_note(read_index(data), sets)


def check_retrieval(settings: SweepSettings) -> None:
    """Raise InputError if caption files cannot be read, or name clips that are missing and must not be."""
    for name, (folder, csv) in settings.retrieval_sets().items():
        missing = find_clips(folder, read_captions(csv)).missing
        if missing:
            console.print(f"retrieval {name}: {len(missing)} clips missing in {folder}")
            if not settings.allow_missing:
                raise InputError(f"{folder} lacks {len(missing)} clips of {csv}; --allow-missing goes on without them")


def decode_retrieval_clips(settings: SweepSettings) -> None:
    """Raise InputError naming the clips that cannot be used: each trial would find them only after its training."""
    for name, (folder, csv) in settings.retrieval_sets().items():
        problems = decode_problems(find_clips(folder, read_captions(csv)).paths)
        if settings.allow_missing and problems:
            console.print(f"retrieval {name}: without {'; '.join(problems.values())}")
        else:
            raise_problems(folder, problems.values())


def check_tracking(storage: Place) -> None:
    """Raise InputError if MLflow does not answer, or if its experiment cannot be logged to; makes the experiment."""
    uri = tracking.tracking_uri(storage)
    with tracking.answering(uri):
        tracking.connect(uri, storage)


def check_ray_address(address: str) -> None:
    """Raise InputError if RAY_ADDRESS is none, or if nobody, or something else than Ray, listens there.

    Ray itself would try for minutes at the one, and for ever at its dashboard's port.
    """
    if not address or address in ("local", "auto"):
        return
    wrong = f"RAY_ADDRESS={without_passwords(address)}"
    if address.startswith(("http://", "https://")):
        raise InputError(f"{wrong} is the dashboard's: name Ray's own port, HOST:6379, or use `ray job submit`")
    try:
        named = urlsplit(address if "//" in address else f"//{address}")
        host, port = named.hostname, named.port
    except ValueError as error:
        raise InputError(f"{wrong}: {error}; write HOST:PORT, such as head:6379") from error
    if not host or not port:
        raise InputError(f"{wrong} names no {'port' if host else 'host'}: write HOST:PORT, such as head:6379")
    try:
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.settimeout(PROBE_S)
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = _first_bytes(connection)
    except OSError as error:
        raise InputError(f"no Ray cluster at {wrong}: {error}") from error
    if answer.startswith(b"HTTP/1"):
        raise InputError(f"{wrong} speaks HTTP, as Ray's dashboard does: name Ray's own port, such as {host}:6379")


def _first_bytes(connection: socket.socket) -> bytes:
    try:
        return connection.recv(16)
    except OSError:  # Ray says nothing to that, or ends the connection
        return b""


def check_socket_path(environment: Mapping[str, str]) -> None:
    """Raise InputError if Ray, started here, would put its sockets at a path that is too long for the system."""
    if environment.get("RAY_ADDRESS", "local") not in ("", "local"):
        return  # it runs already
    variable = "RAY_TMPDIR" if "RAY_TMPDIR" in environment else "TMPDIR"
    folder = environment.get(variable, "/tmp")
    length = len(os.fsencode(os.path.join(folder, SOCKET)))
    if length > LONGEST_SOCKET_PATH:
        raise InputError(
            f"{variable}={folder}: Ray's sockets below it would have paths of {length} bytes, over the "
            f"{LONGEST_SOCKET_PATH} that the system takes: set RAY_TMPDIR to a short folder, such as /tmp/ray-$USER"
        )


def connect_ray(runtime_env: dict[str, Any]) -> None:
    """Start or join Ray, unless that is done. Raises InputError with what Ray says; ends the process if it hangs."""
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS", "")
    where = f" at RAY_ADDRESS={without_passwords(address)}" if address else ""
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with _within(RAY_ANSWERS_S, f"Ray{where} does not answer within {RAY_ANSWERS_S:g} s: is it Ray's own port?"):
            ray.init(runtime_env=runtime_env, logging_level="CRITICAL", log_to_driver=False)
    except RAY_ERRORS as error:
        said = without_passwords(" ".join(str(error).split()))[:500]
        raise InputError(f"Ray{where}: {said or type(error).__name__}") from error
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)  # ray.init puts its own in, which ends this process at once


@contextmanager
def _within(seconds: float, message: str) -> Iterator[None]:
    """End this process in one line, as an InputError does, if the block takes longer.

    Ray waits in code that neither a signal's handler nor an exception in another thread can leave.
    """

    def end() -> None:
        console.file.flush()
        print(f"error: {message}", file=sys.stderr, flush=True)
        os._exit(2)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def check_room(settings: SweepSettings, there: Mapping[str, float]) -> None:
    """Raise InputError if the cluster, with the resources `there`, has no room for one trial and does not grow.

    A cluster that grows when asked is one for which --concurrent-trials says how many to ask for.
    """
    if settings.concurrent_trials is not None:
        return
    gpus = settings.workers * settings.gpus_per_worker if settings.use_gpu else 0.0
    if there.get("CPU", 0) >= settings.workers and there.get("GPU", 0) >= gpus:
        return
    flag = "--use-gpu: " if there.get("GPU", 0) < gpus else ""
    raise InputError(
        f"{flag}a trial needs {settings.workers} CPUs and {gpus:g} GPUs, and the cluster has {there.get('CPU', 0):g} "
        f"CPUs and {there.get('GPU', 0):g} GPUs; on a cluster that grows when asked, say how many trials to ask for: "
        "--concurrent-trials"
    )
