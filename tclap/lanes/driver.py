"""One start of a sweep, from checked input to the files on the parent run: what a sweep script calls.

A list (`run_sweep`) and a search (`run_search` in search.py) differ in where their jobs come from and in the files they
end with; what is between is the same.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tclap.cache import node_cache, publish, published_dataset
from tclap.config import Configuration, config_hash
from tclap.console import console
from tclap.data.synth import default_dataset
from tclap.errors import InputError
from tclap.experiment import check_clips, open_workspace
from tclap.flags import SweepSettings
from tclap.lanes import preflight
from tclap.lanes.stopping import say_how_to_go_on, stopping_cleanly
from tclap.places import at, cache_folder, check_writable, is_local, staged, stop_requested
from tclap.report.tables import result_frame, untrained_warning, write_rows, write_tables
from tclap.sweep.claim import claim_name
from tclap.sweep.job import Job
from tclap.sweep.ledger import Ledger, read_ledger
from tclap.sweep.plan import describe, label, make_plan, shared_settings
from tclap.sweep.sources import JobSource, ListSource
from tclap.sweep.sweep import Sweep
from tclap.tracking import runs as tracking
from tclap.tracking.reconcile import reconcile
from tclap.tracking.uri import browse_command, shown

SHOWN = ("zste/3A", "zste/3A_order", "zste/1")  # of each job of a list that ends
DONE, FAILED, INTERRUPTED = 0, 1, 130  # exit codes; 130 is what a shell reports for Ctrl-C


@dataclass(frozen=True)
class Start:
    """One start of a sweep that holds its name: the settings, the dataset, and what is done."""

    settings: SweepSettings
    data: Path
    dataset_digest: str
    ledger: Ledger


def run_sweep(settings: SweepSettings, configurations: Sequence[Configuration], table: str) -> int:
    """Run `configurations` and write their table as `table`.csv, .md, .html and .png.

    Returns 0 when all is done, 1 if a job failed, 130 when it was interrupted. The same call again runs what is
    not done yet. Raises InputError before anything expensive if settings and dataset do not fit.
    """
    plan = make_plan(configurations, settings.seeds)
    if settings.dry_run:
        preflight.check_dry(settings, plan.trials())
        console.print(describe(plan, read_ledger(settings.sweep_folder)))
        return DONE
    with claimed(settings, plan.trials()) as start:
        console.print(describe(plan, start.ledger))
        left = [job for job in plan.jobs if not start.ledger.is_done(job.configuration, job.seeds)]
        if left:
            run_jobs(start, left, plan.jobs, ListSource(plan.jobs, start.ledger), len(plan.jobs), SHOWN)
        missing = plan.left(start.ledger)
        with staged(settings.sweep_folder) as written:
            files = write_table(start, list(dict.fromkeys(configurations)), table, (), written)
            return conclude(start, files, missing, bool(missing))


def write_table(
    start: Start, configurations: Sequence[Configuration], table: str, objectives: Sequence[str], folder: Path
) -> list[Path]:
    """Write the table of what is done, in the order given, and print it; returns its files, or none if nothing is."""
    frame = result_frame(configurations, start.ledger.results)
    if not len(frame):
        return []
    files = write_tables(frame, folder / table, untrained_warning(start.settings.weights))
    files.append(write_rows(frame, table, objectives, folder))
    console.print(files[1].read_text(encoding="utf-8"))
    return files


@contextmanager
def claimed(settings: SweepSettings, configurations: Sequence[Configuration]) -> Iterator[Start]:
    """Check everything that can be checked before Ray starts, and hold the sweep's name.

    Raises InputError if settings and dataset do not fit, if clips cannot be used, if the name stands for another sweep,
    or if another process runs it.
    """
    preflight.check_outlives_job(settings.storage)
    check_writable(settings.sweep_folder)
    cache = _cache(settings)
    data = settings.data or default_dataset(settings.storage if isinstance(settings.storage, Path) else cache)
    preflight.check_dataset(data, configurations)
    note = preflight.shared_recordings(data, configurations[0].data)
    if note and not settings.allow_shared_recordings:
        console.print(note, style="yellow")
    preflight.check_retrieval(settings)
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
            yield Start(settings, data, workspace.dataset_digest, read_ledger(settings.sweep_folder))
    except Timeout as error:
        raise InputError(f"another process is running the sweep {settings.name} in {settings.storage}") from error


def run_jobs(
    start: Start, examples: Sequence[Job], known: Sequence[Job], source: JobSource, total: int, shown: Sequence[str]
) -> None:
    """Open MLflow and Ray, and run the jobs of `source` on as many lanes as there is room for.

    examples: jobs that need all that the source's jobs share. known: those of its jobs that are known beforehand, for
    the estimate; total: how many there will be. shown: the metrics in the line of an ended job. What is done is in the
    ledger afterwards. Raises InputError if clips cannot be used, if MLflow or Ray does not answer, or if no lane has
    room.
    """
    # Ray takes a second to import, and a dry run or a finished sweep needs none of it.
    import ray

    from tclap.lanes.cluster import open_cluster, room_for_lanes
    from tclap.lanes.leftovers import Leftovers
    from tclap.lanes.mailbox import open_mailbox
    from tclap.lanes.progress import Progress
    from tclap.lanes.searcher import SourceSearcher
    from tclap.lanes.trials import run_trials

    settings, ledger = start.settings, start.ledger
    with stopping_cleanly(settings.sweep_folder):
        preflight.check_ray_address(os.environ.get("RAY_ADDRESS", ""))
        preflight.check_socket_path(os.environ)
        preflight.decode_retrieval_clips(settings)
        preflight.check_tracking(settings.storage.resolve())
        open_cluster()
        preflight.check_room(settings, ray.cluster_resources())
        sweep = _open_tracking(start)
        try:
            lanes = settings.concurrent_trials or room_for_lanes(sweep)
            mailbox = open_mailbox()
            began = time.monotonic()

            def prepared() -> None:
                console.print(f"base model and features ready in {time.monotonic() - began:.0f} s")

            shared = shared_settings(examples)
            stopped = functools.partial(stop_requested, at(sweep.folder))
            one_makes_all = sweep.origin is not None
            searcher = SourceSearcher(source, shared, 1 if one_makes_all else lanes, ledger, stopped, prepared)
            with Progress(known, total, ledger, mailbox, shown) as progress:
                run_trials(searcher, sweep, mailbox, lanes, [progress, Leftovers()])
            ray.kill(mailbox)
            if searcher.preparation_failed:
                raise searcher.preparation_failed
        except Exception:
            tracking.connect(sweep.tracking_uri, settings.storage)[0].set_terminated(sweep.parent_run_id, "FAILED")
            raise


def _cache(settings: SweepSettings) -> Path:
    """Where this node keeps features and base models: below the storage, or on its own disk if that is a URL."""
    if isinstance(settings.storage, Path):
        return cache_folder(settings.storage.resolve())
    return node_cache(settings.cache, settings.storage)


def _open_tracking(start: Start) -> Sweep:
    """The sweep, with its parent run RUNNING and no other run of it."""
    settings = start.settings
    storage = settings.storage.resolve()
    uri = tracking.tracking_uri(storage)
    mirrored = not is_local(storage)
    if mirrored and settings.data is None:
        publish(published_dataset(_cache(settings), start.dataset_digest), source=start.data)
    with tracking.answering(uri):
        client, experiment_id = tracking.connect(uri, storage)
        parent_run_id = _parent_run(client, experiment_id, start)
        _reconcile(client, experiment_id, start, parent_run_id)
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
        tracking_uri=uri,
        experiment_id=experiment_id,
        parent_run_id=parent_run_id,
    )


def _parent_run(client: tracking.MlflowClient, experiment_id: str, start: Start) -> str:
    name, identity = start.settings.name, start.settings.identity()
    return tracking.sweep_run(client, experiment_id, name, identity, start.data, start.dataset_digest)


def _reconcile(client: tracking.MlflowClient, experiment_id: str, start: Start, parent_run_id: str) -> None:
    for line in reconcile(client, experiment_id, start.settings.name, start.ledger, parent_run_id):
        console.print(line, style="yellow")


def conclude(
    start: Start, files: Sequence[Path], missing: Sequence[tuple[Configuration, int]], unfinished: bool
) -> int:
    """Put `files` on the parent run, end it, say what is missing and where everything is; returns the exit code.

    missing: what was tried and is not done; unfinished: whether anything is left to do (a search may have more to try).
    """
    settings = start.settings
    uri = tracking.tracking_uri(settings.storage)
    interrupted = unfinished and stop_requested(settings.sweep_folder)
    for configuration, seed in missing:
        console.print(f"not done: {config_hash(configuration)}  {label(configuration)}  seed {seed}")
    with tracking.answering(uri):
        client, experiment_id = tracking.connect(uri, settings.storage)
        run_id = _parent_run(client, experiment_id, start)
        _reconcile(client, experiment_id, start, run_id)
        for file in files:
            client.log_artifact(run_id, str(file))
        client.set_terminated(run_id, "KILLED" if interrupted else "FAILED" if missing else "FINISHED")
    _say_where(settings, uri, experiment_id, run_id)
    if interrupted:
        say_how_to_go_on()
        return INTERRUPTED
    return FAILED if missing else DONE


def _say_where(settings: SweepSettings, uri: str, experiment_id: str, run_id: str) -> None:
    console.print(f"files: {settings.sweep_folder}")
    if uri.startswith("sqlite"):
        console.print(f"to browse: {browse_command(uri)}")
        page = "http://127.0.0.1:5000"
    else:
        page = shown(settings.mlflow_page or uri)
    console.print(f"then open {page}/#/experiments/{experiment_id}/runs/{run_id}")
