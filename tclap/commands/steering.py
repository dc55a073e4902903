"""`tclap runs`, `stop`, `pause`, `resume`, `exclude`: see and steer a sweep while it runs, or after, from its folder.

They work beside the driver, on any machine that sees the storage: the driver and its workers look at the files that
these commands write.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter, defaultdict
from dataclasses import replace

from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg
from rich.table import Table
from upath import UPath

from tclap.axes import label, varying
from tclap.config import config_hash
from tclap.console import NARROW, console
from tclap.errors import InputError
from tclap.places import UserPlace, at, stop_file
from tclap.sweep import steering
from tclap.sweep.claim import CLAIM
from tclap.sweep.job import DONE, FAILED, STOPPED
from tclap.sweep.ledger import Ledger, read_ledger
from tclap.sweep.live import RUNNING, JobState, Snapshot, is_held, read_live
from tclap.sweep.recorded import done_configurations

METRIC = "order"  # shown of jobs that are done, if they have it
COLOURS = {DONE: "green", RUNNING: "cyan", FAILED: "red"}


class SweepPlace(BaseModel):
    """Which sweep, and where."""

    name: CliPositionalArg[str] = Field(description="the sweep's --name")
    storage: UserPlace = Field(at("runs"), description="the sweep's --storage, a folder or an s3:// URL")

    def folder(self) -> UPath:
        """The sweep's folder. Raises InputError if there is none, naming those there are."""
        folder: UPath = self.storage / self.name
        if not (folder / CLAIM).exists():
            there = sorted(place.parent.name for place in self.storage.glob(f"*/{CLAIM}"))
            raise InputError(f"no sweep {self.name!r} in {self.storage}; there are: {', '.join(there) or 'none'}")
        return folder


class Runs(SweepPlace):
    """List a sweep's jobs and how they are."""

    def cli_cmd(self) -> None:
        folder = self.folder()
        snapshot = read_live(folder)
        runs = _runs(folder, snapshot)
        ledger = read_ledger(folder)
        jobs, excluded = _jobs(folder, ledger), steering.excluded(folder)
        table = Table("job", "configuration", "state", "seeds done", "steps", METRIC, **NARROW)
        states: Counter[str] = Counter()
        for job in jobs:
            state = _state(job, folder, ledger, runs)
            states[state] += 1
            why = f": {job.reason}" if state == FAILED and job.reason else ""
            if job.hash in excluded:
                why += f" (excluded: {excluded[job.hash]})"
            done = [seed for seed in job.seeds if (job.hash, seed) in ledger.results]
            step = f"{job.step} of {job.steps}" if state == RUNNING else ""
            style = COLOURS.get(state)
            table.add_row(
                job.hash, job.label, f"{state}{why}", f"{len(done)} of {len(job.seeds)}", step,
                _score(ledger, job.hash, done), style=style,
            )  # fmt: skip
        console.print(table)
        console.print(", ".join(f"{count} {state}" for state, count in states.items()) or "nothing has run yet")
        if runs:
            assert snapshot is not None
            console.print(f"{snapshot.status}  ({time.time() - snapshot.written_at:.0f} s ago)")
        else:
            console.print("no process runs it now; its own command goes on")


class Stop(SweepPlace):
    """End a running sweep: what runs keeps its state, and the sweep's own command goes on from it."""

    def cli_cmd(self) -> None:
        folder = self.folder()
        _must_run(folder, self.name)
        stop_file(folder).touch()
        console.print(f"{self.name} is told to stop: its jobs keep their state and end; its own command goes on")


class Pause(SweepPlace):
    """Let a job, or the whole sweep, wait: what runs keeps its state, and others go on; see `tclap resume`."""

    job: CliPositionalArg[str | None] = Field(None, description="a job's hash, or its beginning; default: all jobs")

    def cli_cmd(self) -> None:
        folder = self.folder()
        _must_run(folder, self.name)
        job = None if self.job is None else _find(folder, self.job)
        steering.pause(folder, job.hash if job else None)
        what = f"{job.hash}  {job.label}" if job else f"every job of {self.name}"
        console.print(f"paused: {what}; tclap resume {self.name} goes on, and so does the sweep's own command")


class Resume(SweepPlace):
    """Let a job, or all of them, go on after `tclap pause`."""

    job: CliPositionalArg[str | None] = Field(None, description="a job's hash, or its beginning; default: all jobs")

    def cli_cmd(self) -> None:
        folder = self.folder()
        job = None if self.job is None else _find(folder, self.job)
        if not steering.resume(folder, job.hash if job else None):
            raise InputError(f"{job.hash if job else self.name} is not paused")
        console.print(f"goes on: {job.hash if job else f'every job of {self.name}'}")


class Exclude(SweepPlace):
    """Leave a configuration out of a sweep's rankings and tables; it stays in MLflow, with the reason as a tag."""

    job: CliPositionalArg[str] = Field(description="its hash, or the beginning of it")
    why: str | None = Field(None, description="the reason, for whoever comes later")
    undo: bool = Field(False, description="take it in again")

    def cli_cmd(self) -> None:
        from tclap.tracking.excluded import tag_excluded
        from tclap.tracking.read import existing_store

        folder = self.folder()
        if self.undo == (self.why is not None):
            raise InputError("say --why it is left out, or --undo to take it in again")
        job = _find(folder, self.job)
        if job.stages == "A":
            raise InputError(f"{job.hash} is a stage-A run, which stands in no table: exclude those that start from it")
        if self.undo and job.hash not in steering.excluded(folder):
            raise InputError(f"{job.hash} is not excluded")
        client, experiment_id, _ = existing_store(self.storage)
        steering.exclude(folder, job.hash, self.why)
        tagged = tag_excluded(client, experiment_id, self.name, steering.excluded(folder))
        said = "taken in again" if self.undo else "excluded"
        console.print(f"{said}: {job.hash}  {job.label}  ({tagged} runs in MLflow)")
        apart = str(self.storage) == "runs" or "://" in str(self.storage)  # a URL has its MLflow elsewhere
        flag = "" if apart else f" --storage {shlex.quote(str(self.storage))}"
        report = f"tclap report --name {self.name}{flag}"
        console.print(f"its own command writes tables and report.html anew; {report} the tables alone")


def _must_run(folder: UPath, name: str) -> None:
    if not _runs(folder, read_live(folder)):
        raise InputError(f"no process runs the sweep {name} now")


def _runs(folder: UPath, snapshot: Snapshot | None) -> bool:
    """Whether a driver is there: it says so, or it is silent and has not let go of the sweep."""
    return snapshot is not None and (snapshot.runs(time.time()) or (not snapshot.ended and is_held(folder)))


def _jobs(folder: UPath, ledger: Ledger) -> list[JobState]:
    """Every job that is known, with all its seeds: those of the last start, then what only earlier ones had."""
    snapshot = read_live(folder)
    known = list(snapshot.jobs) if snapshot else []
    seeds_of: defaultdict[str, set[int]] = defaultdict(set)
    for name, seed in ledger.results:
        seeds_of[name].add(seed)
    earlier = sorted(done_configurations(ledger, [job.hash for job in known]), key=lambda c: c.stages != "A")
    differ = varying(c for c in earlier if c.stages != "A")
    known += [JobState(config_hash(c), label(c, differ), c.stages, (), 0, DONE) for c in earlier]
    unnamed = seeds_of.keys() - {job.hash for job in known}
    known += [JobState(name, "(its checkpoint does not say)", "", (), 0, DONE) for name in sorted(unnamed)]
    return [replace(job, seeds=tuple(sorted(seeds_of[job.hash].union(job.seeds)))) for job in known]


def _find(folder: UPath, given: str) -> JobState:
    """The job whose hash begins with `given`. Raises InputError if that is none, or several."""
    jobs = _jobs(folder, read_ledger(folder))
    # What is excluded and not done is in no plan any more.
    jobs += [JobState(name, "", "", (), 0) for name in steering.excluded(folder).keys() - {job.hash for job in jobs}]
    found = [job for job in jobs if job.hash.startswith(given)]
    if len(found) != 1:
        several = f"{', '.join(job.hash for job in found)} begin with it" if found else "tclap runs lists the jobs"
        raise InputError(f"no single job {given!r} in the sweep {folder.name}: {several}")
    return found[0]


def _state(job: JobState, folder: UPath, ledger: Ledger, runs: bool) -> str:
    found = [ledger.results[job.hash, seed] for seed in job.seeds if (job.hash, seed) in ledger.results]
    if any(result.stopped_at is not None for result in found):
        return "stopped early"
    if len(found) == len(job.seeds):
        return DONE
    if job.state == FAILED or (job.state == RUNNING and runs):
        return job.state
    if steering.is_paused(folder, job.hash):
        return "paused"
    if job.state in (RUNNING, STOPPED):
        return "interrupted"
    return "waiting" if runs else "not done"


def _score(ledger: Ledger, name: str, seeds: list[int]) -> str:
    from tclap.evaluation.zste import summary

    values = [summary(ledger.results[name, seed].scores).get(METRIC) for seed in seeds]
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.1f}" if known else ""
