"""Configurations -> jobs: what runs, what starts from what, what is already done. No Ray, no MLflow, no audio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tclap.axes import label, varying
from tclap.config import Configuration, config_hash, with_seed
from tclap.sweep.job import Job
from tclap.sweep.ledger import Ledger, Result


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

    def left(self, ledger: Ledger) -> list[tuple[Configuration, int]]:
        """Every configuration and seed that is not done."""
        return [(job.configuration, s) for job in self.jobs for s in job.seeds if not ledger.get(job.configuration, s)]


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


def describe(plan: Plan, ledger: Ledger) -> str:
    """The plan as text: jobs, shared stages, what is done, and an estimate from what has been timed."""
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
        finished = [result.seed for result in ledger.of(job.configuration, job.seeds)]
        steps = job.configuration.optimiser.steps
        remaining += steps * (len(job.seeds) - len(finished))
        notes = [f"{steps} steps"]
        if job.parent:
            notes.append(f"starts from {job.parent}")
        if users[job.hash]:
            notes.append(f"shared by {users[job.hash]} AB configurations")
        if finished:
            notes.append("done" if len(finished) == len(job.seeds) else f"seeds {finished} done")
        lines.append(f"  {job.hash}  {label(job.configuration, differ)}  ({', '.join(notes)})")
    lines.append(_estimate(remaining, list(ledger.results.values())))
    return "\n".join(lines)


def _estimate(remaining: int, timed: list[Result]) -> str:
    if not remaining:
        return "estimate: nothing left to do"
    timed = [result for result in timed if result.steps]  # not those that were killed while evaluating
    if not timed:
        return f"estimate: {remaining} optimiser steps; nothing has run under this name yet that would tell their time"
    rate_s = sum(r.train_s for r in timed) / sum(r.steps for r in timed)
    return (
        f"estimate: {remaining} optimiser steps, {remaining * rate_s / 60:.1f} min of one lane's training "
        f"at {rate_s:.2f} s a step (mean of {len(timed)} finished runs)"
    )
