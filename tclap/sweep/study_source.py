"""Jobs from Optuna's study: see `sources.py` for what a source is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

from tclap.config import Configuration
from tclap.sweep.job import Job
from tclap.sweep.outcome import Outcome, lacking
from tclap.sweep.sources import WAIT
from tclap.sweep.study import STORAGE_ERRORS, Choices, Study, ask, tell

HELD_AT_MOST = 8  # points drawn ahead of their stage-A runs: a sampler should know as much as possible when it draws


class StudySource:
    """The points that a study suggests, after the stage-A runs that they may start from.

    A point whose stage-A run is still going on is held back until that has ended, and another one is drawn meanwhile.
    """

    def __init__(
        self,
        study: Study,
        choices: Choices,
        at: Callable[[dict[str, Any]], Configuration],
        objectives: Sequence[str],
        limit: int,
        grid: bool,
        seed: int,
        stage_a: Sequence[Job],
        seeds: tuple[int, ...],
        say: Callable[[str], None],
        left_out: Collection[str] = (),
    ) -> None:
        """left_out: hashes of configurations that are not to be run; a point at which one lies counts as tried."""
        self._study, self._choices, self._at, self._objectives = study, choices, at, objectives
        self._limit, self._grid, self._seed = limit, grid, seed
        self._seeds, self._say, self._left_out = seeds, say, left_out
        self._stage_a = deque(stage_a)
        self._going_on = {job.hash for job in stage_a}  # stage-A runs that have not ended
        self._held: list[Job] = []
        self._numbers: dict[str, int] = {}  # config_hash -> Optuna's trial number
        self._untold: dict[int, Outcome | None] = {}  # what the study's storage has not taken yet
        self._away = False  # that storage, the last time
        self.asked: list[dict[str, Any]] = []  # the points suggested, with those left out

    def next(self) -> Job | Literal["wait"] | None:
        if self._stage_a:
            return self._stage_a.popleft()
        while True:
            for job in self._held:
                if job.parent not in self._going_on:
                    self._held.remove(job)
                    return job
            if len(self._held) >= HELD_AT_MOST:
                return WAIT
            drawn = self._draw()
            if not isinstance(drawn, Job):
                return WAIT if self._held else drawn
            self._held.append(drawn)

    def _draw(self) -> Job | Literal["wait"] | None:
        while True:
            self.tell_untold()
            if self._untold:
                return WAIT
            try:
                trial = ask(self._study, self._choices, self._limit, self._grid, self._seed)
            except STORAGE_ERRORS as error:
                self._say_away(error)
                return WAIT
            self._away = False
            if trial is None:
                return None
            job = Job(self._at(trial.params), self._seeds)
            self.asked.append(trial.params)
            if job.hash not in self._left_out:
                self._numbers[job.hash] = trial.number
                return job
            self._untold[trial.number] = None

    def ended(self, job: Job, metrics: dict[str, Any] | None) -> None:
        self._going_on.discard(job.hash)
        number = self._numbers.pop(job.hash, None)
        if number is None:
            return  # a stage-A run
        complete = metrics is not None and all(name in metrics for name in self._objectives)
        stopped_at = None if metrics is None else metrics.get("stopped_at")
        values = [metrics[name] for name in self._objectives] if metrics and complete else None
        self._untold[number] = (
            None if values is None else Outcome(values, lacking(stopped_at, job.configuration.optimiser.steps))
        )
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
            self._say(f"the study's storage does not answer, and is waited for: {reason}")
        self._away = True
