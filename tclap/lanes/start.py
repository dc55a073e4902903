"""One start of a sweep: what is checked and held before Ray starts, and its place in MLflow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tclap.axes import Axis
from tclap.cache import node_cache, publish, published_dataset
from tclap.config import Configuration
from tclap.console import console
from tclap.data.layouts import read_dataset
from tclap.data.synth import default_dataset
from tclap.errors import InputError
from tclap.experiment import check_clips, open_workspace
from tclap.flags import SweepSettings
from tclap.lanes import preflight
from tclap.places import cache_folder, check_writable, is_local
from tclap.sweep.claim import claim_name, give_back
from tclap.sweep.ledger import Ledger, read_ledger
from tclap.sweep.live import DRIVER_LOCK
from tclap.sweep.steering import excluded
from tclap.sweep.sweep import Sweep
from tclap.tracking import runs as tracking
from tclap.tracking.excluded import tag_excluded
from tclap.tracking.provenance import log_origin
from tclap.tracking.reconcile import reconcile, rename
from tclap.tracking.uri import page_at


@dataclass(frozen=True)
class Start:
    """One start of a sweep that holds its name: the settings, the dataset, and what is done."""

    settings: SweepSettings
    data: Path
    dataset_digest: str
    ledger: Ledger

    @property
    def sound(self) -> str:
        """What the sweep hears, for people: "synthetic sound, fold 4"."""
        folds = self.settings.eval_folds
        name = "synthetic sound" if self.settings.data is None else self.data.resolve().name
        return f"{name}, fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))}"


@dataclass(frozen=True)
class Store:
    """The sweep's parent run in MLflow."""

    client: tracking.MlflowClient
    experiment_id: str
    run_id: str
    uri: str
    page: str  # where a browser finds MLflow


@contextmanager
def claimed(settings: SweepSettings, configurations: Sequence[Configuration]) -> Iterator[Start]:
    """Check everything that can be checked before Ray starts, and hold the sweep's name.

    Raises InputError if settings and dataset do not fit, if clips cannot be used, if the name stands for another sweep,
    or if another process runs it.
    """
    preflight.check_outlives_job(settings.storage)
    preflight.say_unknown_variables(settings, os.environ)
    check_writable(settings.sweep_folder)
    cache = _cache(settings)
    data = settings.data or default_dataset(settings.storage if isinstance(settings.storage, Path) else cache)
    console.print(read_dataset(data)[1])
    preflight.check_dataset(data, configurations)
    heard = list({configuration.data: None for configuration in configurations})  # folds may vary
    notes = dict.fromkeys(preflight.shared_recordings(data, own) for own in heard)
    for note in filter(None, notes if not settings.allow_shared_recordings else ()):
        console.print(note, style="yellow")
    preflight.check_retrieval(settings)
    workspace = open_workspace(data, cache)
    for own in heard:
        check_clips(workspace, own)  # before the name is bound to the digest, which mending them changes
    tracking.tracking_uri(settings.storage)
    # With object storage, which has no locks, it keeps away the other processes of this machine alone.
    place = settings.sweep_folder if isinstance(settings.sweep_folder, Path) else cache / settings.name
    place.mkdir(exist_ok=True)
    try:
        # The kernel lets go of it however this process ends.
        with FileLock(place / DRIVER_LOCK, timeout=0):
            identity = {**settings.identity(), "dataset": workspace.dataset_digest}
            ledger = read_ledger(settings.sweep_folder, settings.stop_early)
            claim_name(settings.sweep_folder, identity, settings.meant_before(), settings.may_grow)
            try:
                yield Start(settings, data, workspace.dataset_digest, ledger)
            except InputError:
                give_back(settings.sweep_folder)
                raise
    except Timeout as error:
        raise InputError(f"another process is running the sweep {settings.name} in {settings.storage}") from error


def open_store(start: Start, varying: Sequence[Axis] | None = None) -> Store:
    """The sweep's place in MLflow: its parent run is RUNNING, none of its child runs is, and none is missing.

    varying: the axes that the names of runs shall tell; None leaves the names. Raises InputError if MLflow does not
    answer.
    """
    settings = start.settings
    storage = settings.storage.resolve()
    uri = tracking.tracking_uri(storage)
    with tracking.answering(uri):
        client, experiment_id = tracking.connect(uri, storage)
        name = settings.name
        asked = {key: value for key, value in settings.identity().items() if key in settings.may_grow}
        fixed = {key: value for key, value in settings.identity().items() if key not in asked}
        run_id = tracking.sweep_run(client, experiment_id, name, fixed, start.data, start.dataset_digest, asked)
        log_origin(client, run_id, str(start.data.resolve()), start.dataset_digest, sys.argv[0])
        for line in reconcile(client, experiment_id, name, start.ledger, run_id):
            console.print(line, style="yellow")
        if left_out := excluded(settings.sweep_folder):
            tag_excluded(client, experiment_id, name, left_out)  # a run that was logged again has no tag
        if varying is not None:
            rename(client, experiment_id, name, run_id, varying)
    return Store(client, experiment_id, run_id, uri, page_at(uri, settings.mlflow_page))


def sweep_of(start: Start, store: Store, varying: Sequence[Axis], objectives: Sequence[str]) -> Sweep:
    """What lanes need to know of the sweep, whose configurations differ in the axes `varying`.

    objectives: by which trials are compared, where they may be stopped early.

    A synthetic dataset is published if nodes have no storage in common.
    """
    settings = start.settings
    storage = settings.storage.resolve()
    mirrored = not is_local(storage)
    if mirrored and settings.data is None:
        publish(published_dataset(_cache(settings), start.dataset_digest), source=start.data)
    return Sweep(
        name=settings.name,
        folder=str(storage / settings.name),
        data=None if mirrored and settings.data is None else str(start.data.resolve()),
        dataset_digest=start.dataset_digest,
        cache=str(settings.cache if mirrored else _cache(settings)),
        origin=str(storage) if mirrored else None,
        workers=settings.workers,
        gpus_per_worker=settings.gpus_per_worker if settings.use_gpu else 0.0,
        chunk=settings.chunk,
        retrieval={name: (str(folder), str(csv)) for name, (folder, csv) in settings.retrieval_sets().items()},
        allow_missing=settings.allow_missing,
        tracking_uri=store.uri,
        experiment_id=store.experiment_id,
        parent_run_id=store.run_id,
        evaluate_every=settings.evaluate_every,
        stop_early=settings.stop_early,
        objectives=tuple(objectives),
        guards=settings.guard,
        varying=tuple(axis.name for axis in varying),
    )


def _cache(settings: SweepSettings) -> Path:
    """Where this node keeps features and base models: below the storage, or on its own disk if that is a URL."""
    if isinstance(settings.storage, Path):
        return cache_folder(settings.storage.resolve())
    return node_cache(settings.cache, settings.storage)
