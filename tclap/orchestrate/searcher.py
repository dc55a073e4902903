"""Ray Tune's view of the study. Tune's own OptunaSearch repeats points, and starts anew after a killed driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from ray.tune.search import Searcher

from tclap.command_line import console
from tclap.config import Configuration
from tclap.orchestrate.study import STORAGE_ERRORS, Choices, ask, tell


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
        self._away = False  # the study's storage, the last time

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._stopped():
            return Searcher.FINISHED
        try:
            trial = ask(self._study, self._choices, self._limit, self._in_order, self._seed)
        except STORAGE_ERRORS as error:
            self._say_away(error)
            return None  # Tune asks again in a second
        self._away = False
        if trial is None:
            return Searcher.FINISHED
        self._numbers[trial_id] = trial.number
        return {"configuration": self._at(trial.params).model_dump_json()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: a trial reports once, at its end."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if self._stopped() and not _has(result, self._objectives):
            return  # it goes on after the next start, which finds it RUNNING
        number = self._numbers.pop(trial_id)
        done = result is not None and _has(result, self._objectives) and not error
        try:
            tell(self._study, number, [result[name] for name in self._objectives] if result and done else None)
        except STORAGE_ERRORS as storage_error:
            self._say_away(storage_error)  # the trial stays RUNNING there; the next start finds its results, and tells

    def _say_away(self, error: Exception) -> None:
        if not self._away:
            text = f"the study's storage does not answer, and is waited for: {' '.join(str(error).split())}"
            console.print(text, markup=False, style="yellow")
        self._away = True

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is stored trial by trial."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search is resumed from its study, not from Tune's snapshots")


def _has(result: dict[str, Any] | None, objectives: Sequence[str]) -> bool:
    return result is not None and all(name in result for name in objectives)
