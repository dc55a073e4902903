"""One start of a sweep, from checked input to the files on the parent run: what a sweep script calls.

A list (`run_sweep`) and a search (`run_search` in search.py) differ in where their jobs come from and in the files they
end with; what is between is the same.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tclap import presets
from tclap.axes import Axis, label, varying
from tclap.config import Configuration, config_hash
from tclap.console import console
from tclap.errors import InputError
from tclap.flags import SweepSettings
from tclap.lanes import preflight
from tclap.lanes.board import Board
from tclap.lanes.start import Start, Store, claimed, open_store, sweep_of
from tclap.lanes.stopping import say_how_to_go_on, stopping_cleanly
from tclap.places import at, stop_requested, unless_away
from tclap.sweep.adaptive import AdaptiveSource
from tclap.sweep.best_so_far import BestSoFar
from tclap.sweep.job import Job
from tclap.sweep.ledger import Key, read_ledger
from tclap.sweep.plan import describe, make_plan, shared_settings
from tclap.sweep.pricing import find_price
from tclap.sweep.receipt import receipt
from tclap.sweep.recorded import also_done
from tclap.sweep.rungs import Rungs
from tclap.sweep.sources import JobSource, ListSource
from tclap.sweep.steering import EVERYTHING, excluded, is_paused, paused
from tclap.sweep.sweep import DEFAULT_OBJECTIVES
from tclap.tracking import runs as tracking
from tclap.tracking.ending import ended_if_broken_off
from tclap.tracking.page import run_link
from tclap.tracking.uri import LOCAL_PAGE, browse_command

SHOWN = ("zste/3A", "zste/3A_order", "zste/order", "zste/1")  # of each job of a list that ends
DONE, FAILED, INTERRUPTED = 0, 1, 130  # exit codes; 130 is what a shell reports for Ctrl-C
Tried = Callable[[], Sequence[Configuration]]


def run_sweep(settings: SweepSettings, configurations: Sequence[Configuration], table: str) -> int:
    """Run `configurations` and write their table as `table`.csv, .md, .html, .png and .tex, and report.html.

    Returns 0 when all is done, 1 if a job failed, 130 when it was interrupted. The same call again runs what is
    not done yet. Raises InputError before anything expensive if settings and dataset do not fit.
    """
    asked, configurations = configurations, without_excluded(settings, configurations)
    if asked and not configurations:
        undo = f"tclap exclude {settings.name} HASH --undo --storage {settings.storage}"
        raise InputError(f"every configuration of {settings.name} is excluded; {undo} takes one in again")
    plan = make_plan(configurations, settings.seeds)
    say_preset(settings, plan.trials())
    if settings.dry_run:
        done = preflight.check_dry(settings, plan.trials())
        price = find_price(read_ledger(settings.sweep_folder), settings.identity())
        console.print(describe(plan, done, price))
        return DONE
    with claimed(settings, plan.trials()) as start:
        price = find_price(start.ledger, settings.identity())
        planned_s = price.step_s * plan.steps_left(start.ledger) if price else None
        before = set(start.ledger.results)
        planned = describe(plan, start.ledger, price)
        console.print(planned)
        adaptive = None
        if settings.seeds_up_to is not None:
            adaptive = AdaptiveSource(configurations, settings.seeds, settings.seeds_up_to, start.ledger, console.print)
        jobs = plan.jobs if adaptive is None else adaptive.jobs
        left = [job for job in jobs if not start.ledger.is_done(job.configuration, job.seeds)]
        source = adaptive or ListSource(jobs, start.ledger)
        shown = [*configurations, *also_done(start.ledger, configurations)]

        def tried() -> Sequence[Configuration]:
            return shown

        if left:

            def total() -> int:
                return len(jobs if adaptive is None else adaptive.jobs)

            ended = total() - len(left)
            work = Work(
                examples=left,
                known=jobs,
                source=source,
                total=total,
                before=ended,
                shown=SHOWN,
                tried=tried,
                objectives=DEFAULT_OBJECTIVES,
                plan=planned,
            )
            spent = run_jobs(start, work)
            say_receipt(start, before, plan.trials(), planned_s, spent)
        missing = plan.left(start.ledger) if adaptive is None else adaptive.left()
        return conclude(start, tried, DEFAULT_OBJECTIVES, table, missing, bool(missing))


def say_preset(settings: SweepSettings, configurations: Sequence[Configuration]) -> None:
    """Print what a preset sets that no flag shows: of the configuration with the most stages."""
    if settings.preset == "released":
        console.print(presets.described(max(configurations, key=lambda c: len(c.stages))))


@dataclass(frozen=True)
class Spent:
    """What `run_jobs` took, in seconds; None if base model and features were never ready."""

    wall_s: float
    prepared_s: float | None


def say_receipt(
    start: Start,
    before: Collection[Key],
    configurations: Sequence[Configuration],
    planned_s: float | None,
    spent: Spent,
) -> None:
    """Print what was spent beside what was planned: see `receipt`."""
    seeds = start.settings.seeds
    text = receipt(start.ledger, before, configurations, seeds, planned_s, spent.wall_s, spent.prepared_s)
    if text:
        console.print(text)


def without_excluded(settings: SweepSettings, configurations: Sequence[Configuration]) -> list[Configuration]:
    """Those that nobody has excluded (`tclap exclude`); the others are named, once, with the reason."""
    left_out = excluded(settings.sweep_folder)
    for configuration in configurations:
        if why := left_out.get(config_hash(configuration)):
            console.print(f"excluded: {config_hash(configuration)}  {label(configuration)}  ({why})", style="yellow")
    return [c for c in configurations if config_hash(c) not in left_out] if left_out else list(configurations)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one start has to do, and how it is shown.

    examples: jobs that need all that the source's jobs share. known: those of its jobs that are known beforehand, for
    the estimate; total: how many there will be, as far as is known, `before` of which are done. shown: the metrics in
    the line of an ended job. tried, objectives: as for `Board`. plan: as text, for the sweep's page. axes: what the
    source may vary, besides what those that are known differ in. best: is told in each line, if given.
    """

    examples: Sequence[Job]
    known: Sequence[Job]
    source: JobSource
    total: Callable[[], int]
    before: int
    shown: Sequence[str]
    tried: Tried
    objectives: Sequence[str]
    plan: str
    axes: Collection[Axis] = ()
    best: BestSoFar | None = None


def run_jobs(start: Start, work: Work) -> Spent:
    """Open MLflow and Ray, and run the jobs of a source on as many lanes as there is room for.

    What is done is in the ledger afterwards, also where a second Ctrl-C ended it. Returns the time it took. Raises
    InputError if clips cannot be used, if MLflow or Ray does not answer, or if no lane has room.
    """
    # Ray takes a second to import, and a dry run or a finished sweep needs none of it.
    import ray

    from tclap.lanes.cluster import open_cluster, room_for_lanes
    from tclap.lanes.mailbox import open_mailbox
    from tclap.lanes.progress import Progress
    from tclap.lanes.searcher import SourceSearcher
    from tclap.lanes.trials import run_trials

    settings, ledger = start.settings, start.ledger
    entered, ready_s = time.monotonic(), list[float]()
    with stopping_cleanly(settings.sweep_folder):
        preflight.check_ray_address(os.environ.get("RAY_ADDRESS", ""))
        preflight.check_socket_path(os.environ)
        preflight.decode_retrieval_clips(settings)
        preflight.check_tracking(settings.storage.resolve())
        open_cluster()
        preflight.check_room(settings, ray.cluster_resources())
        planned = [job.configuration for job in (*work.examples, *work.known) if job.configuration.stages != "A"]
        differ = varying([*planned, *work.tried()], work.axes)
        store = open_store(start, differ)
        sweep = sweep_of(start, store, differ, work.objectives)
        board = Board(start, store, work.tried, work.objectives, work.plan)
        try:
            if settings.stop_early:
                steps = {config_hash(trial): trial.optimiser.steps for trial in work.tried()}
                Rungs(at(sweep.folder)).record_curves(ledger.results.values(), steps)
            _say_where(store, board, differ)
            lanes = settings.concurrent_trials or room_for_lanes(sweep)
            mailbox = open_mailbox()
            began = time.monotonic()

            def prepared() -> None:
                ready_s.append(time.monotonic() - began)
                console.print(f"base model and features ready in {ready_s[0]:.0f} s")

            shared = shared_settings(work.examples)
            # No job is handed out while the storage is away.
            stopped = unless_away(functools.partial(stop_requested, at(sweep.folder)), False)
            waits = unless_away(functools.partial(is_paused, at(sweep.folder)), True)
            one_makes_all = sweep.origin is not None
            at_once = 1 if one_makes_all else lanes
            searcher = SourceSearcher(work.source, shared, at_once, ledger, stopped, waits, prepared)
            told = (ledger, mailbox, work.shown, differ, board.update, work.best)
            with Progress(work.known, work.total, work.before, *told) as progress:
                searcher.on_wait = progress.beat
                run_trials(searcher, sweep, mailbox, lanes, [progress])
            ray.kill(mailbox)
            if searcher.preparation_failed:
                raise searcher.preparation_failed
        except KeyboardInterrupt:
            ray.shutdown()  # nothing of the sweep may run, and log, while it is concluded
            raise
        except Exception as error:
            if not tracking.is_away(error):
                store.client.set_terminated(store.run_id, "FAILED")
            raise
    return Spent(time.monotonic() - entered, ready_s[0] if ready_s else None)


def conclude(
    start: Start,
    tried: Tried,
    objectives: Sequence[str],
    table: str,
    missing: Sequence[tuple[Configuration, int]],
    unfinished: bool,
    searched: Callable[[pd.DataFrame, Path], list[Path]] | None = None,
    axes: Collection[Axis] = (),
) -> int:
    """Write the files, put them on the parent run, end it, and say what is missing and where everything is.

    missing: what was tried and is not done; unfinished: whether anything is left to do (a search may have more to try).
    searched: writes the further files of a search into a folder; axes: what it may vary. Returns the exit code.
    """
    settings = start.settings
    waiting = paused(settings.sweep_folder)
    interrupted = unfinished and (stop_requested(settings.sweep_folder) or bool(waiting))
    for configuration, seed in missing:
        state = "paused" if waiting & {config_hash(configuration), EVERYTHING} else "not done"
        console.print(f"{state}: {config_hash(configuration)}  {label(configuration)}  seed {seed}")
    store = open_store(start)
    with tracking.answering(store.uri):
        board = Board(start, store, tried, objectives)
        status = "interrupted" if interrupted else f"{len(missing)} not done" if missing else "done"
        with ended_if_broken_off(store.client, store.run_id):
            board.write_files(table, status, searched)
        store.client.set_terminated(store.run_id, "KILLED" if interrupted else "FAILED" if missing else "FINISHED")
        console.print(f"files: {settings.sweep_folder}")
        _say_where(store, board, axes)
    console.print(f"then open {run_link(store.page, store.experiment_id, store.run_id)}")
    if interrupted:
        say_how_to_go_on()
        return INTERRUPTED
    return FAILED if missing else DONE


def _say_where(store: Store, board: Board, axes: Collection[Axis]) -> None:
    if store.uri.startswith("sqlite") and store.page == LOCAL_PAGE:
        console.print(f"to browse: {browse_command(store.uri)}")
    console.print(f"leaderboard: {board.link(axes)}")
