"""Further seeds for those configurations alone that may still be the best: `--seeds-up-to`.

In rounds: when every contender has its seeds, each is compared with the one of the best mean over the seeds that they
share. Those whose 95% interval of the paired difference holds 0 get one seed more, until there are as many as were
asked for or one contender is left. What a round decides follows from results alone, so a start after a kill decides
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from tclap.axes import label
from tclap.config import Configuration, config_hash
from tclap.evaluation.statistics import t_half_width
from tclap.evaluation.zste import summary
from tclap.sweep.job import Job
from tclap.sweep.ledger import Ledger, Result
from tclap.sweep.plan import make_plan
from tclap.sweep.sources import WAIT, ListSource

METRICS = ("order", "temporal")  # means of ZSTE; the second where results are older than the first


def contenders(configurations: Sequence[Configuration], seeds: Sequence[int], ledger: Ledger) -> list[Configuration]:
    """Those that may be the best, the best one among them, in the order given; without those that lack a seed or were
    stopped early.

    One seed alone tells nothing, so then it is all of them.
    """
    results = {c: ledger.of(c, seeds) for c in configurations}
    whole = {
        c: of_one
        for c, of_one in results.items()
        if len(of_one) == len(seeds) and all(result.stopped_at is None for result in of_one)
    }
    if not whole:
        return []
    metric = METRICS[0] if all(METRICS[0] in summary(r.scores) for rs in whole.values() for r in rs) else METRICS[1]
    values = {c: np.array([_value(result, metric) for result in of_one]) for c, of_one in whole.items()}
    best = max(values, key=lambda c: float(values[c].mean()))
    return [c for c, of_one in values.items() if c is best or _may_be_equal(values[best] - of_one)]


def _value(result: Result, metric: str) -> float:
    return summary(result.scores)[metric]


def _may_be_equal(difference: np.ndarray) -> bool:
    """Whether the 95% interval of the mean of these differences, one for each seed, holds 0."""
    half = t_half_width(difference)  # infinite or NaN for one seed
    return not np.isfinite(half) or abs(float(difference.mean())) <= half


class AdaptiveSource:
    """Jobs of a list, then of its contenders with one seed more each round; see `sources.py` for what a source is."""

    def __init__(
        self,
        configurations: Sequence[Configuration],
        seeds: Sequence[int],
        up_to: int,
        ledger: Ledger,
        say: Callable[[str], None],
    ) -> None:
        """up_to: how many seeds there may be in all; new ones are the smallest numbers that are not among `seeds`."""
        self._contenders, self._seeds, self._up_to = list(configurations), tuple(seeds), up_to
        self._ledger, self._say = ledger, say
        self._running = 0  # handed out, and not ended
        self._rounds: list[tuple[Job, ...]] = []
        self._begin()
        while not self.left() and self._goes_on():  # the rounds of an earlier start
            pass

    @property
    def jobs(self) -> list[Job]:
        """Every job of every round so far, a configuration of later rounds once for each."""
        return [job for jobs in self._rounds for job in jobs]

    def left(self) -> list[tuple[Configuration, int]]:
        """What of the rounds so far is not done, each configuration and seed once."""
        return list(
            dict.fromkeys(
                (job.configuration, seed)
                for job in self.jobs
                for seed in self._ledger.seeds_left(job.configuration, job.seeds)
            )
        )

    def next(self) -> Job | Literal["wait"] | None:
        while True:
            job = self._round.next()
            if isinstance(job, Job):
                self._running += 1
                return job
            if job == WAIT or self._running:
                return WAIT
            if not self._goes_on():
                return None

    def ended(self, job: Job, metrics: dict[str, Any] | None) -> None:
        self._running -= 1
        self._round.ended(job, metrics)

    def _begin(self) -> None:
        jobs = make_plan(self._contenders, self._seeds).jobs
        self._rounds.append(jobs)
        self._round = ListSource(jobs, self._ledger)

    def _goes_on(self) -> bool:
        """Begin the next round; False if there is none."""
        if len(self._seeds) >= self._up_to:
            return False
        found = contenders(self._contenders, self._seeds, self._ledger)
        if len(found) < 2:
            return False
        seed = next(n for n in range(len(self._seeds) + 1) if n not in self._seeds)
        names = (
            ", ".join(f"{config_hash(c)} ({label(c)})" for c in found) if len(found) < 4 else f"{len(found)} of them"
        )
        self._say(f"seed {seed} for those that may be the best after {len(self._seeds)}: {names}")
        self._contenders, self._seeds = found, (*self._seeds, seed)
        self._begin()
        return True
