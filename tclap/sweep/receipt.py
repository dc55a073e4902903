"""What a start of a sweep has cost, beside what was planned, and what sharing has saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from tclap.config import Configuration, config_hash
from tclap.sweep.ledger import Key, Ledger, Result


def receipt(
    ledger: Ledger,
    before: Collection[Key],
    configurations: Sequence[Configuration],
    seeds: Sequence[int],
    planned_s: float | None,
    wall_s: float,
    prepared_s: float | None,
) -> str:
    """Lines for people; empty if nothing has ended.

    before: what was done when this start began. configurations: all that it may have run, each with these seeds.
    planned_s: one lane's training, by the price that was known; wall_s: the start until its end; prepared_s: until base
    model and features were ready, None if they never were.
    """
    new = {key: result for key, result in ledger.results.items() if key not in before}
    if not new:
        return ""
    trained_s = sum(result.train_s for result in new.values())
    planned = "no time was planned" if planned_s is None else f"{planned_s / 60:.1f} min of training were planned"
    count = f"{len(new)} run{'s' * (len(new) > 1)}"
    lines = [f"receipt: {count} in {wall_s / 60:.1f} min; {planned}, {trained_s / 60:.1f} min spent over all lanes"]
    lines += _stages(ledger, new.keys(), configurations) + _stopped(new, configurations, seeds)
    if prepared_s is not None and len(new) > 1:
        saved_min = prepared_s * (len(new) - 1) / 60
        ready = f"ready after {prepared_s:.0f} s, once for {count}"
        lines.append(f"  lanes, base model and features: {ready}, which saved up to {saved_min:.1f} min")
    return "\n".join(lines)


def _stopped(new: Mapping[Key, Result], configurations: Sequence[Configuration], seeds: Sequence[int]) -> list[str]:
    """What it saved that trials were stopped early: the rest of the seed that was stopped, and the seeds after it."""
    steps = {config_hash(c): c.optimiser.steps for c in configurations}
    stopped = [r for r in new.values() if r.stopped_at and r.config_hash in steps]
    if not stopped:
        return []
    ran = Counter(name for name, _ in new)
    spared = [steps[r.config_hash] * (1 + len(seeds) - ran[r.config_hash]) - (r.stopped_at or 0) for r in stopped]
    spared_s = sum(n * r.train_s / r.steps for n, r in zip(spared, stopped, strict=True) if r.steps)
    count = f"{len(stopped)} trial{'s' * (len(stopped) > 1)}"
    return [f"  stopped early: {count}, which saved {sum(spared)} steps, {spared_s / 60:.1f} min of training"]


def _stages(ledger: Ledger, new: Collection[Key], configurations: Sequence[Configuration]) -> list[str]:
    """What it saved that configurations share stage-A runs: each of them would have had one of its own."""
    parents = {config_hash(c): c.parent for c in configurations if c.parent is not None}
    used: list[Key] = []
    for name, seed in new:
        parent = parents.get(name)
        if parent is not None:
            used.append((config_hash(parent), seed))
    known = [ledger.results[key] for key in used if key in ledger.results]
    # Once for each that was trained now; what an earlier start trained was not trained again at all.
    trained = [ledger.results[key] for key in set(used) if key in new and key in ledger.results]
    saved = len(known) - len(trained)
    if saved < 1:
        return []
    steps = sum(r.steps for r in known) - sum(r.steps for r in trained)
    spared_s = sum(r.train_s for r in known) - sum(r.train_s for r in trained)
    runs = f"{len(known)} run{'s' * (len(known) > 1)} of A and B used {len(set(used))} of stage A"
    return [f"  stages: {runs}, which saved {steps} steps, {spared_s / 60:.1f} min of training"]
