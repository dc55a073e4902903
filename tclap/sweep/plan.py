"""Configurations -> waves: what runs, what is shared, what is already done. No Ray, no MLflow, no audio.

Wave 1 holds the distinct stage-A runs and the B-only configurations, wave 2 the AB configurations, each of which
starts from its stage-A checkpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tclap.axes import label
from tclap.config import Configuration, config_hash
from tclap.places import Place, Result, read_result, seed_folder


@dataclass(frozen=True)
class Plan:
    """Distinct configurations in waves; a wave starts when the one before it has ended."""

    waves: tuple[tuple[Configuration, ...], ...]
    seeds: tuple[int, ...]

    def trials(self) -> list[Configuration]:
        """The configurations asked for, without the stage-A runs they share: B alone, then AB."""
        return [c for wave in self.waves for c in wave if c.stages != "A"]

    def stage_a_runs(self) -> list[Configuration]:
        return [c for wave in self.waves for c in wave if c.stages == "A"]


def make_plan(configurations: Iterable[Configuration], seeds: Sequence[int]) -> Plan:
    """Plan `configurations`, each distinct one once, by `config_hash`."""
    distinct = {config_hash(c): c for c in configurations}
    paired = [c for c in distinct.values() if c.stages == "AB"]
    shared = {config_hash(a): a for a in (c.stage_a_configuration() for c in paired)}
    first = (*shared.values(), *(c for c in distinct.values() if c.stages != "AB"))
    return Plan(tuple(wave for wave in (first, tuple(paired)) if wave), tuple(seeds))


def results(plan: Plan, sweep: Place) -> dict[tuple[str, int], Result]:
    """(config_hash, seed) -> result of everything in `plan` that is done under the folder `sweep`."""
    found = {}
    for configuration in (c for wave in plan.waves for c in wave):
        for seed in plan.seeds:
            result = read_result(seed_folder(sweep, configuration, seed))
            if result is not None:
                found[config_hash(configuration), seed] = result
    return found


def steps(configuration: Configuration) -> int:
    """Optimiser steps that this configuration's own stage takes (its stage A is counted where it runs)."""
    settings = configuration.optimiser_a if configuration.stages == "A" else configuration.optimiser_b
    assert settings is not None, "validated by Configuration"
    return settings.steps


def describe(plan: Plan, sweep: Place) -> str:
    """The plan as text: waves, shared stages, what is done, and an estimate from what has been timed."""
    done = results(plan, sweep)
    users = Counter(config_hash(c.stage_a_configuration()) for c in plan.trials() if c.stages == "AB")
    shared = len(plan.stage_a_runs())
    lines = [
        f"{len(plan.trials())} configurations and {shared} stage-A run{'s' * (shared != 1)} in "
        f"{len(plan.waves)} wave{'s' * (len(plan.waves) != 1)}, seeds {', '.join(map(str, plan.seeds))}"
    ]
    remaining = 0
    for number, wave in enumerate(plan.waves, 1):
        lines.append(f"wave {number}: {len(wave)} runs")
        for configuration in wave:
            name = config_hash(configuration)
            finished = [seed for seed in plan.seeds if (name, seed) in done]
            remaining += steps(configuration) * (len(plan.seeds) - len(finished))
            notes = [f"{steps(configuration)} steps"]
            if users[name]:
                notes.append(f"shared by {users[name]} AB configurations")
            if finished:
                notes.append("done" if len(finished) == len(plan.seeds) else f"seeds {finished} done")
            lines.append(f"  {name}  {label(configuration)}  ({', '.join(notes)})")
    lines.append(_estimate(remaining, list(done.values())))
    return "\n".join(lines)


def _estimate(remaining: int, timed: list[Result]) -> str:
    if not remaining:
        return "estimate: nothing left to do"
    timed = [result for result in timed if result.steps]  # not those that were killed while evaluating
    if not timed:
        return f"estimate: {remaining} optimiser steps; nothing has run under this name yet that would tell their time"
    rate_s = sum(r.train_s for r in timed) / sum(r.steps for r in timed)
    return (
        f"estimate: {remaining} optimiser steps, {remaining * rate_s / 60:.1f} min of one worker group's training "
        f"at {rate_s:.2f} s a step (mean of {len(timed)} finished runs)"
    )
