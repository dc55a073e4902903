"""What a study is told of a configuration that has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tclap.sweep.ledger import Result

STOPPED_EARLY = "stopped_early"  # a constraint


@dataclass(frozen=True)
class Outcome:
    """Its objectives, and the share of its steps that it was stopped before."""

    values: Sequence[float]
    lacking: float = 0.0

    @property
    def constraints(self) -> dict[str, float]:
        """A trial that was stopped early violates a constraint, the more the earlier it was (design 10)."""
        return {STOPPED_EARLY: self.lacking} if self.lacking else {}


def outcome_of(
    results: Sequence[Result], metrics: Mapping[str, float], objectives: Sequence[str], steps: int
) -> Outcome:
    """The outcome of a configuration with so many steps from its results and their mean metrics."""
    stopped = min((result.stopped_at for result in results if result.stopped_at is not None), default=None)
    return Outcome([metrics[name] for name in objectives], lacking(stopped, steps))


def lacking(stopped_at: int | None, steps: int) -> float:
    """The share of its steps that a trial did not take."""
    return 0.0 if stopped_at is None else 1 - stopped_at / steps
