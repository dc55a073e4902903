"""Looks at a seed in the middle of its stage: the suite is scored and logged, and a judge may say that it is enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import metric_values
from tclap.sweep.curve import Curve, is_scored
from tclap.tracking.beside import RunBeside
from tclap.training.stage import State

CURVE = "curve"  # in the state of a seed


class Judge(Protocol):
    """Says why a seed need not go on."""

    def at(self, steps_done: int) -> bool:
        """Whether it is asked after so many steps even if no scores were asked for."""
        ...

    def verdict(self, steps_done: int, scores: Mapping[str, Score]) -> str:
        """Why it is enough, or nothing; on every worker the same."""
        ...


class Looks:
    """What `carry_out` calls as `look` and `look_at`, on every worker; the curve travels with the seed's state.

    So a seed that is taken up again keeps its earlier points, whatever has become of MLflow. spent_s: what the looks
    took, which is no training. enough: why the judge stopped it, if it did.
    """

    def __init__(
        self,
        every: int,
        score: Callable[[], dict[str, Score]],
        run: RunBeside,
        resume: State | None,
        judge: Judge | None = None,
    ) -> None:
        self._every, self._score, self._run, self._judge = every, score, run, judge
        self.curve: Curve = {} if resume is None else dict(resume.get(CURVE, {}))
        self.enough = ""
        self.spent_s = 0.0
        for step, values in self.curve.items():
            # Where it is looked at again, it may turn out to be enough: that is logged with the end of the run.
            if judge is None or resume is None or step != resume["step"] or not self.at(step):
                run.score(step, values)

    def at(self, steps_done: int) -> bool:
        return is_scored(steps_done, self._every) or (self._judge is not None and self._judge.at(steps_done))

    def look(self, steps_done: int) -> bool:
        """Score the suite, unless it was before the seed was taken up; whether the judge says that it is enough."""
        if steps_done in self.curve and self._judge is None:
            return False
        began = time.perf_counter()
        scores = self._score()
        self.add(steps_done, scores)
        self.enough = "" if self._judge is None else self._judge.verdict(steps_done, scores)
        if not self.enough:
            self._run.score(steps_done, self.curve[steps_done])
        self.spent_s += time.perf_counter() - began
        return bool(self.enough)

    def add(self, steps_done: int, scores: Mapping[str, Score]) -> None:
        """A further point of the curve."""
        self.curve[steps_done] = metric_values(scores)

    def with_curve(self, state: State) -> State:
        """The state of a seed with what of its curve is known."""
        return {**state, CURVE: dict(self.curve)}
