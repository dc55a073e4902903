"""The best of what has ended in a search, told job by job: what a person who watches wants to know."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tclap.sweep.stopping import SIGNS, Guard


@dataclass
class BestSoFar:
    """By one objective, among those for which the guards hold; of equals the first."""

    objective: str
    guards: Sequence[Guard] = ()
    value: float = -math.inf
    name: str = ""

    def tell(self, name: str, metrics: Mapping[str, float]) -> None:
        """A trial that ran to its end, with its means over seeds."""
        wins = all(SIGNS[guard.sign](metrics.get(guard.metric, math.nan), guard.bound) for guard in self.guards)
        value = metrics.get(self.objective, math.nan)
        if wins and value > self.value:
            self.value, self.name = value, name

    def line(self, name: str) -> str:
        """ "best so far" for the trial that is it; for another one its score and name; nothing if there is none."""
        if not self.name:
            return ""
        return "best so far" if name == self.name else f"best {self.value:.1f} ({self.name})"
