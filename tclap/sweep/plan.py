"""Configurations -> jobs: what runs, what starts from what, what is already done. No Ray, no MLflow, no audio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tclap.axes import label, varying
from tclap.config import Configuration, config_hash, with_seed
from tclap.sweep.job import Job
from tclap.sweep.ledger import Ledger
from tclap.sweep.pricing import FINISHED, Price, estimate_line, price_of


@dataclass(frozen=True)
class Plan:
    """Distinct jobs in the order in which lanes take them up: stage-A runs, stage B alone, then AB.

    There is no barrier between them: a job is ready when its parent is done.
    """

    jobs: tuple[Job, ...]
    seeds: tuple[int, ...]

    def trials(self) -> list[Configuration]:
        """The configurations asked for, without the stage-A runs they share: B alone, then AB."""
        return [job.configuration for job in self.jobs if job.configuration.stages != "A"]

    def stage_a_jobs(self) -> list[Job]:
        return [job for job in self.jobs if job.configuration.stages == "A"]

    def steps_left(self, ledger: Ledger) -> int:
        """Optimiser steps of what is not done."""
        return sum(configuration.optimiser.steps for configuration, _ in self.left(ledger))

    def left(self, ledger: Ledger) -> list[tuple[Configuration, int]]:
        """Every configuration and seed that is not done."""
        return [(j.configuration, seed) for j in self.jobs for seed in ledger.seeds_left(j.configuration, j.seeds)]


def make_plan(configurations: Iterable[Configuration], seeds: Sequence[int]) -> Plan:
    """Plan `configurations`, each distinct one once, by `config_hash`."""
    distinct = {config_hash(c): c for c in configurations}
    parents = {config_hash(p): p for p in (c.parent for c in distinct.values()) if p is not None}
    alone = [c for c in distinct.values() if c.parent is None]
    children = [c for c in distinct.values() if c.parent is not None]
    return Plan(tuple(Job(c, tuple(seeds)) for c in (*parents.values(), *alone, *children)), tuple(seeds))


def shared_settings(jobs: Iterable[Job]) -> list[Configuration]:
    """One configuration for each base model and set of features that these jobs need."""
    trained = (with_seed(job.configuration, seed) for job in jobs for seed in job.seeds)
    return list({(c.model, c.data): c for c in trained}.values())


def describe(plan: Plan, ledger: Ledger, price: Price | None = None) -> str:
    """The plan as text: jobs, shared stages, what is done, and an estimate by `price`, or by what has been timed."""
    users = Counter(job.parent for job in plan.jobs if job.parent)
    shared = len(plan.stage_a_jobs())
    lines = [
        f"{len(plan.trials())} configurations and {shared} stage-A run{'s' * (shared != 1)}, "
        f"seeds {', '.join(map(str, plan.seeds))}"
    ]
    runs, left = sum(len(job.seeds) for job in plan.jobs), len(plan.left(ledger))
    if left < runs:
        lines.append(f"{runs - left} of {runs} runs are done")
    remaining, differ = 0, varying(plan.trials())
    for job in plan.jobs:
        done = ledger.of(job.configuration, job.seeds)
        finished, to_run = [result.seed for result in done], ledger.seeds_left(job.configuration, job.seeds)
        steps = job.configuration.optimiser.steps
        remaining += steps * len(to_run)
        notes = [f"{steps} steps"]
        if job.parent:
            notes.append(f"starts from {job.parent}")
        if users[job.hash]:
            notes.append(f"shared by {users[job.hash]} AB configurations")
        stopped = [result.stopped_at for result in done if result.stopped_at is not None]
        if finished:
            notes.append(f"seeds {finished} done" if to_run else f"stopped at {stopped[0]}" if stopped else "done")
        lines.append(f"  {job.hash}  {label(job.configuration, differ)}  ({', '.join(notes)})")
    lines.append(estimate_line(remaining, price or price_of(ledger.results.values(), FINISHED)))
    return "\n".join(lines)


def search_steps(shared: Plan, ledger: Ledger, trials_left: int) -> int:
    """Optimiser steps of so many trials more and of the stage-A runs that are not done.

    shared: one trial for each stage-A run, batch size and kind of stages that the search may choose; which of them it
    will choose is not known, so a trial counts as their mean.
    """
    steps = [configuration.optimiser.steps for configuration in shared.trials()]
    stage_a = Plan(tuple(shared.stage_a_jobs()), shared.seeds)
    return round(trials_left * len(shared.seeds) * sum(steps) / len(steps)) + stage_a.steps_left(ledger)


def describe_search(shared: Plan, ledger: Ledger, limit: int, done: int, price: Price | None) -> str:
    """A search's trials, its stage-A runs and what they will cost, as text; `done` of the `limit` trials are done."""
    counts = sorted({configuration.optimiser.steps for configuration in shared.trials()})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    seeds = f"{len(shared.seeds)} seed{'s' * (len(shared.seeds) > 1)}"
    lines = [f"{limit} trials, {done} of them done, each {seeds} of {each} steps"]
    for job in shared.stage_a_jobs():
        left = len(ledger.seeds_left(job.configuration, job.seeds))
        state = f"{left} to train" if left else "done"
        lines.append(f"  {job.hash}  {label(job.configuration)}  ({job.configuration.optimiser.steps} steps, {state})")
    lines.append(estimate_line(search_steps(shared, ledger, max(0, limit - done)), price))
    return "\n".join(lines)
