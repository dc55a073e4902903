"""Ray Tune's view of the study. Tune's own OptunaSearch repeats points, and starts anew after a killed driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from ray.tune.search import Searcher

from tclap.config import Configuration
from tclap.console import console
from tclap.sweep.study import STORAGE_ERRORS, Choices, ask, tell


class StudySearcher(Searcher):
    """Suggests {"configuration": JSON} for points that `study` has not visited, and tells it the objectives."""

    def __init__(
        self,
        study: optuna.study.Study,
        choices: Choices,
        at: Callable[[dict[str, Any]], Configuration],
        objectives: Sequence[str],
        limit: int,
        in_order: bool,
        seed: int,
        stopped: Callable[[], bool],
    ) -> None:
        super().__init__(metric=list(objectives), mode=["max"] * len(objectives))
        self._study, self._choices, self._at, self._objectives = study, choices, at, objectives
        self._limit, self._in_order, self._seed, self._stopped = limit, in_order, seed, stopped
        self._numbers: dict[str, int] = {}  # Tune's trial id -> Optuna's trial number
        self._untold: dict[int, list[float] | None] = {}  # what the study's storage has not taken yet
        self._away = False  # that storage, the last time
        self.asked: list[dict[str, Any]] = []  # the points suggested

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._stopped():
            return Searcher.FINISHED
        self.tell_untold()
        if self._untold:
            return None  # Tune asks again in a second
        try:
            trial = ask(self._study, self._choices, self._limit, self._in_order, self._seed)
        except STORAGE_ERRORS as error:
            self._say_away(error)
            return None
        self._away = False
        if trial is None:
            return Searcher.FINISHED
        self._numbers[trial_id] = trial.number
        self.asked.append(trial.params)
        return {"configuration": self._at(trial.params).model_dump_json()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: a trial reports once, at its end."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if self._stopped() and not _has(result, self._objectives):
            return  # it goes on after the next start, which finds it RUNNING
        scored = result if not error and _has(result, self._objectives) else None
        number = self._numbers.pop(trial_id)
        self._untold[number] = [scored[name] for name in self._objectives] if scored else None
        self.tell_untold()

    def tell_untold(self) -> None:
        """Tell the study what ended; what its storage does not take now it is told before the next suggestion."""
        try:
            for number in list(self._untold):
                tell(self._study, number, self._untold[number])
                del self._untold[number]
        except STORAGE_ERRORS as error:
            self._say_away(error)

    def _say_away(self, error: Exception) -> None:
        if not self._away:
            reason = " ".join(str(error.__cause__ or error).split())  # Optuna's own text names no cause
            text = f"the study's storage does not answer, and is waited for: {reason}"
            console.print(text, markup=False, style="yellow")
        self._away = True

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is stored trial by trial."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search is resumed from its study, not from Tune's snapshots")


def _has(result: dict[str, Any] | None, objectives: Sequence[str]) -> bool:
    return result is not None and all(name in result for name in objectives)
