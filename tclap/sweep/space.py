"""The space of a search: for each parameter the values that it may take, listed or a range of numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

TRIED = 8  # numbers of a range that are looked at for a point beside another


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`; whole numbers if `low` is one. log: equal steps of the logarithm."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int)

    @property
    def ends(self) -> tuple[float, float]:
        return self.low, self.high

    def __contains__(self, value: object) -> bool:
        number = isinstance(value, int if self.whole else (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high  # type: ignore[operator]

    def __len__(self) -> int:
        """Of whole numbers; others are without end, for which `size` stands."""
        return int(self.high - self.low) + 1

    def draw(self, rng: np.random.Generator) -> float:
        low, high = (math.log(end) if self.log else end for end in self.ends)
        drawn = float(rng.uniform(low, high))
        value = min(max(math.exp(drawn) if self.log else drawn, self.low), self.high)
        return round(value) if self.whole else value

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


Choices = Mapping[str, tuple[Any, ...] | Range]


def size(choices: Choices) -> float:
    """Number of points of the space; infinite if a parameter may be any number of a range."""
    endless = any(isinstance(values, Range) and not values.whole for values in choices.values())
    return math.inf if endless else math.prod(len(values) for values in choices.values())


def shuffled(choices: Choices, seed: int) -> Iterator[dict[str, Any]]:
    """Every point of a space of lists, in an order that `seed` draws, as Optuna's own grid has it.

    In the order of the lists, the first trials would be alike, and what `--stop-early` compares a trial with, too.
    """
    values = [own for own in choices.values() if isinstance(own, tuple)]
    assert len(values) == len(choices), "SearchSettings takes no grid over a range"
    sizes = [len(own) for own in values]
    for number in np.random.default_rng(seed).permutation(math.prod(sizes)):
        places = np.unravel_index(number, sizes)
        yield {name: own[place] for name, own, place in zip(choices, values, places, strict=True)}


def beside(
    drawn: Mapping[str, Any], choices: Choices, seen: Collection[tuple[tuple[str, Any], ...]], rng: np.random.Generator
) -> dict[str, Any]:
    """The unseen point that differs from `drawn` in the fewest values; of several, one drawn by `rng`.

    Looks at the points that differ in one value, then in two, and so on: it rarely comes far, and a space may have
    hundreds of thousands of points. Of a range it looks at a few numbers. Raises ValueError if it finds none.
    """
    others = {name: [value for value in _some(values, rng) if value != drawn[name]] for name, values in choices.items()}
    for distance in range(1, len(choices) + 1):
        near = [
            {**drawn, **dict(zip(names, values, strict=True))}
            for names in itertools.combinations(choices, distance)
            for values in itertools.product(*(others[name] for name in names))
        ]
        unseen = [point for point in near if tuple(sorted(point.items())) not in seen]
        if unseen:
            return unseen[int(rng.integers(len(unseen)))]
    raise ValueError("every point has been seen")


def _some(values: tuple[Any, ...] | Range, rng: np.random.Generator) -> list[Any]:
    if not isinstance(values, Range):
        return list(values)
    if values.whole and len(values) <= TRIED**2:
        return list(range(int(values.low), int(values.high) + 1))
    return list(dict.fromkeys(values.draw(rng) for _ in range(TRIED)))
