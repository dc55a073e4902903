"""Looks at a seed in the middle of its stage: the suite is scored, the scores are kept as its curve and logged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import metric_values
from tclap.sweep.curve import Curve, is_scored
from tclap.tracking.beside import RunBeside
from tclap.training.stage import State

CURVE = "curve"  # in the state of a seed


class Looks:
    """What `carry_out` calls as `look` and `look_at`, on every worker; the curve travels with the seed's state.

    So a seed that is taken up again keeps its earlier points, whatever has become of MLflow. spent_s: what the looks
    took, which is no training.
    """

    def __init__(
        self, every: int, score: Callable[[], Mapping[str, Score]], run: RunBeside, resume: State | None
    ) -> None:
        self._every, self._score, self._run = every, score, run
        self.curve: Curve = {} if resume is None else dict(resume.get(CURVE, {}))
        self.spent_s = 0.0
        for step, values in self.curve.items():
            run.score(step, values)

    def at(self, steps_done: int) -> bool:
        return is_scored(steps_done, self._every)

    def look(self, steps_done: int) -> bool:
        """Score the suite, unless it was before the seed was taken up; never says that it is enough."""
        if steps_done not in self.curve:
            began = time.perf_counter()
            self.add(steps_done, self._score())
            self._run.score(steps_done, self.curve[steps_done])
            self.spent_s += time.perf_counter() - began
        return False

    def add(self, steps_done: int, scores: Mapping[str, Score]) -> None:
        """A further point of the curve."""
        self.curve[steps_done] = metric_values(scores)

    def with_curve(self, state: State) -> State:
        """The state of a seed with what of its curve is known."""
        return {**state, CURVE: dict(self.curve)}
