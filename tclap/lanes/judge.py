"""The judge of `--stop-early` on a lane's workers: the rule of `sweep/stopping.py` over what the sweep's rungs hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tclap import distributed
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import metric_values
from tclap.sweep.rungs import Rungs
from tclap.sweep.stopping import fails, parse_guard, rung_of


class RungJudge:
    """Judges the trial `name` of so many steps by `objectives`. The first worker looks, and tells the others."""

    def __init__(self, rungs: Rungs, name: str, steps: int, objectives: Sequence[str], guards: Sequence[str]) -> None:
        self._rungs, self._name, self._steps = rungs, name, steps
        self._objectives, self._guards = objectives, [parse_guard(text) for text in guards]

    def at(self, steps_done: int) -> bool:
        return rung_of(steps_done, self._steps) is not None

    def verdict(self, steps_done: int, scores: Mapping[str, Score]) -> str:
        for guard in self._guards:
            if fails(guard, scores):  # the same on every worker
                return f"{guard} fails by its whole interval"
        rung = rung_of(steps_done, self._steps)
        if rung is None:
            return ""
        goes_on = True
        if distributed.rank() == 0:
            goes_on = self._rungs.judge(rung, self._name, metric_values(scores), self._objectives)
        (goes_on_everywhere,) = distributed.from_first([int(goes_on)])
        return "" if goes_on_everywhere else "it is not among the best third of those that came so far"
