"""One start of a sweep's driver, from checked input to the files on the parent run; lists and searches share it."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from filelock import FileLock, Timeout

from tclap.cache import node_cache, publish, published_dataset
from tclap.config import Configuration, config_hash
from tclap.console import console
from tclap.data.audio import decode_problems, raise_problems
from tclap.data.dataset import read_index
from tclap.data.synth import default_dataset
from tclap.errors import InputError
from tclap.evaluation.captioned import find_clips, read_captions
from tclap.experiment import check, check_clips, open_workspace
from tclap.flags import SweepSettings
from tclap.lanes.extract import prepare_shared
from tclap.lanes.leftovers import free_before_start
from tclap.lanes.waves import concurrent_trials
from tclap.lanes.worker import Sweep
from tclap.places import Place, cache_folder, check_writable, claim_name, is_local, stop_file, stop_requested
from tclap.sweep.plan import label
from tclap.tracking import runs as tracking
from tclap.tracking.reconcile import reconcile

# Train polls its workers every 2 s by default, which a trial of seconds waits for again and again.
# It also starts a process for each trial that waits for notices of preempted nodes; a trial that loses one goes on from
# its last checkpoint with or without a notice.
RUNTIME_ENV = {"env_vars": {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}}
DONE, FAILED, INTERRUPTED = 0, 1, 130  # exit codes; 130 is what a shell reports for Ctrl-C


@contextmanager
def claimed(settings: SweepSettings, configurations: Sequence[Configuration]) -> Iterator[tuple[Path, str]]:
    """Check everything that can be checked before Ray starts, and hold the sweep's name: (dataset folder, digest).

    Raises InputError where settings and dataset do not fit, where clips cannot be used, where the name stands for
    another sweep, or where another process runs it.
    """
    _check_outlives_job(settings.storage)
    check_writable(settings.sweep_folder)
    cache = _cache(settings)
    data = settings.data or default_dataset(settings.storage if isinstance(settings.storage, Path) else cache)
    check_dataset(data, configurations)
    _check_retrieval(settings)
    workspace = open_workspace(data, cache)
    check_clips(workspace, configurations[0].data)  # before the name is bound to the digest, which mending them changes
    tracking.tracking_uri(settings.storage)
    # With object storage, which has no locks, it keeps away the other processes of this machine alone.
    place = settings.sweep_folder if isinstance(settings.sweep_folder, Path) else cache / settings.name
    place.mkdir(exist_ok=True)
    try:
        # The kernel lets go of it however this process ends.
        with FileLock(place / "driver.lock", timeout=0):
            claim_name(settings.sweep_folder, {**settings.identity(), "dataset": workspace.dataset_digest})
            yield data, workspace.dataset_digest
    except Timeout as error:
        raise InputError(f"another process is running the sweep {settings.name} in {settings.storage}") from error


def _cache(settings: SweepSettings) -> Path:
    """Where this node keeps features and base models: below the storage, or on its own disk where that is a URL."""
    if isinstance(settings.storage, Path):
        return cache_folder(settings.storage.resolve())
    return node_cache(settings.cache, settings.storage)


def _check_outlives_job(storage: Place) -> None:
    # Set by Ray in the environment of a job's command.
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and is_local(storage) and not storage.is_absolute():
        raise InputError(
            f"--storage {storage} is in the job's folder and would vanish with it: give a folder that every node sees, "
            "or set TCLAP_STORAGE where Ray starts"
        )


def check_dataset(data: Path, configurations: Sequence[Configuration]) -> None:
    dataset = read_index(data)
    for configuration in configurations:
        check(dataset, configuration)


def _check_retrieval(settings: SweepSettings) -> None:
    for name, (folder, csv) in settings.retrieval_sets().items():
        missing = find_clips(folder, read_captions(csv)).missing
        if missing:
            console.print(f"retrieval {name}: {len(missing)} clips missing in {folder}", markup=False)
            if not settings.allow_missing:
                raise InputError(f"{folder} lacks {len(missing)} clips of {csv}; --allow-missing goes on without them")


def _check_ray_listens(address: str) -> None:
    """Raise InputError where `address` names a host and port at which nobody listens: Ray would try for minutes."""
    named = urlsplit(address if "//" in address else f"//{address}")  # local and auto name no port
    if named.hostname and named.port:
        try:
            socket.create_connection((named.hostname, named.port), timeout=10).close()
        except OSError as error:
            raise InputError(f"no Ray cluster at RAY_ADDRESS={address}: {error}") from error


def _decode_retrieval_clips(settings: SweepSettings) -> None:
    """Raise InputError naming the clips that cannot be used: each trial would find them only after its training."""
    for name, (folder, csv) in settings.retrieval_sets().items():
        problems = decode_problems(find_clips(folder, read_captions(csv)).paths)
        if settings.allow_missing and problems:
            console.print(f"retrieval {name}: without {'; '.join(problems.values())}", markup=False)
        else:
            raise_problems(folder, problems.values())


def start(settings: SweepSettings, data: Path, dataset_digest: str, example: Configuration) -> tuple[Sweep, int]:
    """Open MLflow and Ray, and make what all trials share: the sweep, and how many trials it may run at once.

    Raises InputError where clips cannot be used, where MLflow or Ray does not answer, or where no trial has room.
    """
    _check_ray_listens(os.environ.get("RAY_ADDRESS", ""))
    _decode_retrieval_clips(settings)
    sweep = _open_tracking(settings, data, dataset_digest)
    try:
        return sweep, _open_ray(settings, sweep, example)
    except Exception:
        tracking.connect(sweep.tracking_uri, settings.storage)[0].set_terminated(sweep.parent_run_id, "FAILED")
        raise


def _open_tracking(settings: SweepSettings, data: Path, dataset_digest: str) -> Sweep:
    """The sweep, with its parent run RUNNING and no other run of it."""
    storage = settings.storage.resolve()
    uri = tracking.tracking_uri(storage)
    mirrored = not is_local(storage)
    if mirrored and settings.data is None:
        publish(published_dataset(_cache(settings), dataset_digest), source=data)
    with tracking.answering(uri):
        client, experiment_id = tracking.connect(uri, storage)
        parent_run_id = tracking.sweep_run(
            client, experiment_id, settings.name, settings.identity(), data, dataset_digest
        )
        reconcile(client, experiment_id, settings.name, settings.sweep_folder)
    return Sweep(
        name=settings.name,
        folder=str(storage / settings.name),
        data=None if mirrored and settings.data is None else str(data.resolve()),
        dataset_digest=dataset_digest,
        cache=str(settings.cache if mirrored else _cache(settings)),
        origin=str(storage) if mirrored else None,
        seeds=settings.seeds,
        workers=settings.workers,
        gpus_per_worker=settings.gpus_per_worker if settings.use_gpu else 0.0,
        chunk=settings.chunk,
        retrieval={name: (str(folder), str(csv)) for name, (folder, csv) in settings.retrieval_sets().items()},
        allow_missing=settings.allow_missing,
        tracking_uri=uri,
        experiment_id=experiment_id,
        parent_run_id=parent_run_id,
    )


def _open_ray(settings: SweepSettings, sweep: Sweep, example: Configuration) -> int:
    """Connect to Ray and compute what trials share; returns how many trials there is room for at once."""
    if not ray.is_initialized():
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(runtime_env=RUNTIME_ENV, logging_level="CRITICAL", log_to_driver=False)
        except ConnectionError as error:
            raise InputError(f"Ray: {error}") from error
        finally:
            signal.signal(signal.SIGTERM, on_sigterm)  # ray.init puts its own in, which ends this process at once
    free_before_start()
    at_once = settings.concurrent_trials or concurrent_trials(sweep)
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # files for each trial that nobody reads: MLflow has it all
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # Tune's own boxes, which its verbose=0 does not silence
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # it would kill the trials; ours lets them checkpoint
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # a failed trial reports its outcome, and no metric
    started = time.monotonic()
    prepare_shared(sweep, example, settings.use_gpu, console)
    console.print(f"base model and features ready in {time.monotonic() - started:.0f} s")
    return at_once


@contextmanager
def stopping_cleanly(folder: Place) -> Iterator[None]:
    """Ctrl-C (or SIGTERM) asks the sweep's trials to checkpoint and end; a second one ends this process at once."""
    stop_file(folder).unlink(missing_ok=True)
    before: dict[int, Any] = {}

    def ask_to_stop(number: int, frame: object) -> None:
        _restore(before)
        stop_file(folder).touch()
        console.print("stopping: what runs is checkpointed first (again to stop at once)", markup=False)

    before.update({number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)})
    try:
        yield
    except KeyboardInterrupt:
        stop_file(folder).touch()
    finally:
        _restore(before)


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def conclude(
    settings: SweepSettings,
    data: Path,
    dataset_digest: str,
    files: Sequence[Path],
    missing: Sequence[tuple[Configuration, int]],
    unfinished: bool,
) -> int:
    """Put `files` on the parent run, end it, say what is missing and where everything is; returns the exit code.

    missing: what was tried and is not done; unfinished: whether anything is left to do (a search may have more to try).
    """
    uri = tracking.tracking_uri(settings.storage)
    interrupted = unfinished and stop_requested(settings.sweep_folder)
    for configuration, seed in missing:
        console.print(f"not done: {config_hash(configuration)}  {label(configuration)}  seed {seed}", markup=False)
    with tracking.answering(uri):
        client, experiment_id = tracking.connect(uri, settings.storage)
        run_id = tracking.sweep_run(client, experiment_id, settings.name, settings.identity(), data, dataset_digest)
        reconcile(client, experiment_id, settings.name, settings.sweep_folder)
        for file in files:
            client.log_artifact(run_id, str(file))
        client.set_terminated(run_id, "KILLED" if interrupted else "FAILED" if missing else "FINISHED")
    console.print(f"files: {settings.sweep_folder}", markup=False)
    if uri.startswith("sqlite"):
        console.print(f"to browse: mlflow ui --backend-store-uri {uri} --port 5000", markup=False)
        page = "http://127.0.0.1:5000"
    else:
        page = settings.mlflow_page or uri
    console.print(f"then open {page}/#/experiments/{experiment_id}/runs/{run_id}", markup=False)
    if interrupted:
        console.print("stopped; the same command goes on from here:", markup=False)
        console.print(shlex.join(["python", *sys.argv]), markup=False)
        return INTERRUPTED
    return FAILED if missing else DONE


def show(file: Path) -> None:
    console.print(file.read_text(encoding="utf-8"))
