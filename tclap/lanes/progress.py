"""What a person sees of a running sweep: a line for each job that ends, and on a terminal a bar for each lane."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray import tune
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from tclap.axes import Axis, label
from tclap.console import console
from tclap.lanes.trials import RETRIES
from tclap.sweep.best_so_far import BestSoFar
from tclap.sweep.estimate import Estimate
from tclap.sweep.job import DONE, FAILED, STOPPED, Job
from tclap.sweep.ledger import Ledger
from tclap.sweep.live import RUNNING, WAITING, Live

LOOK_EVERY_S = 1.0


class Progress(tune.Callback):
    """Told by Tune of every trial, and by the mailbox of every lane's steps. Use it as a context: it draws the bars."""

    def __init__(
        self,
        jobs: Sequence[Job],
        total: Callable[[], int],
        before: int,
        ledger: Ledger,
        mailbox: ray.actor.ActorHandle,
        shown: Sequence[str],
        varying: Sequence[Axis],
        update: Callable[[str], bool],
        best: BestSoFar | None = None,
    ) -> None:
        """jobs: those known beforehand; total: how many there will be, `before` of which are done; shown: metrics in
        the line of an ended job; varying: what its configurations differ in; best: is told and shown, if given.

        update: is told how far the sweep is when a job has ended, and says whether it took that.
        """
        self._update, self._changed = update, True
        self._varying, self._best = varying, best
        self._total, self._ended, self._failed = total, before, 0
        self._ledger, self._mailbox, self._shown = ledger, mailbox, shown
        left = {job.hash: self._steps_left(job) for job in jobs}
        self._estimate = Estimate({name: steps for name, steps in left.items() if steps}, time.monotonic)
        self._running: dict[str, Job] = {}  # by hash
        self._live = Live(ledger.folder)
        for job in jobs:
            done = ledger.is_done(job.configuration, job.seeds)
            self._live.tell(job, self._label(job), DONE if done else WAITING, self._steps_left(job))
        self._looked_at = 0.0
        self._bars = Bars(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
            console=console, disable=not console.is_terminal, transient=True,
        )  # fmt: skip
        self._all = self._bars.add_task("sweep", total=total(), completed=before, note="")
        self._of_lane: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.write(self._status(), ended=True)
        self._bars.stop()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune stores its callbacks in a snapshot that nobody reads

    def say(self, text: str, style: str | None = None) -> None:
        console.print(text, style=style)

    def _steps_left(self, job: Job) -> int:
        return job.configuration.optimiser.steps * len(self._ledger.seeds_left(job.configuration, job.seeds))

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        job = Job.from_json(trial.config["job"])
        if not job.prepares:
            self._running[job.hash] = job
            self._live.tell(job, self._label(job), RUNNING, self._steps_left(job))
            self._estimate.started(job, self._steps_left(job))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result, job = trial.last_result, Job.from_json(trial.config["job"])
        if result["outcome"] == STOPPED:
            if self._running.pop(job.hash, None):
                self._live.tell(job, self._label(job), STOPPED, self._steps_left(job))
            return
        if job.prepares:
            return
        stopped_at = result.get("stopped_at")
        self._count(job, early=stopped_at is not None or result["outcome"] == FAILED)
        self._live.tell(job, self._label(job), result["outcome"], self._steps_left(job), str(result.get("reason", "")))
        if result["outcome"] == FAILED:
            self._failed += 1
            self.say(f"FAILED {self._label(job)}: {result['reason']}", "red")
        elif result["outcome"] == DONE:
            scores = "  ".join(f"{n.removeprefix('zste/')} {result[n]:.1f}" for n in self._shown if n in result)
            early = "" if stopped_at is None else f"stopped at step {stopped_at}"
            told = (self._label(job), scores, early, self._best_line(job, result), self._time_left())
            self.say(f"[{self._ended}/{self._total()}] {'  '.join(filter(None, told))}")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.say(f"lost, and tried again from its last checkpoint: {self._name(trial)}", "yellow")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        job = Job.from_json(trial.config["job"])
        if not job.prepares:
            self._count(job, early=True)
            self._failed += 1
            self._live.tell(job, self._label(job), FAILED, self._steps_left(job), f"lost {RETRIES + 1} times")
        self.say(f"FAILED {self._name(trial)}: lost {RETRIES + 1} times: {trial.error_file}", "red")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        try:
            lanes, notes = ray.get(self._mailbox.news.remote(), timeout=LOOK_EVERY_S)
        except ray.exceptions.RayError:
            return  # it is being started again, or is busy
        for note in notes:
            self.say(note)
        for name, steps in lanes.values():
            self._estimate.at(name, steps)
            self._live.at(name, steps)
        self.beat()
        self._draw(lanes)
        if self._changed:
            self._changed = not self._update(self._status())

    def beat(self) -> None:
        """A sign of life, for who looks from outside."""
        self._live.write(self._status())

    def _status(self) -> str:
        return f"{self._ended} of {self._total()} jobs done, {len(self._running)} running  {self._time_left()}".strip()

    def _draw(self, lanes: dict[str, tuple[str, int]]) -> None:
        counts = f"{len(self._running)} running"
        if self._failed:
            counts += f", {self._failed} failed"
        self._bars.update(self._all, total=self._total(), completed=self._ended, note=f"{counts}  {self._time_left()}")
        for lane in self._of_lane.keys() - lanes.keys():
            self._bars.remove_task(self._of_lane.pop(lane))
        for lane, (name, step) in lanes.items():
            job = self._running.get(name)
            if lane not in self._of_lane:
                self._of_lane[lane] = self._bars.add_task("", total=None, note="")
            named = name if job is None else f"{name}  {self._label(job)}"
            total = None if job is None else self._steps_left(job)  # of all of its seeds
            self._bars.update(self._of_lane[lane], description=f"  {lane}  {named}", completed=step, total=total)

    def _label(self, job: Job) -> str:
        return label(job.configuration, self._varying)

    def _best_line(self, job: Job, result: dict[str, Any]) -> str:
        if self._best is None or job.configuration.stages == "A":
            return ""
        if result.get("stopped_at") is None:
            self._best.tell(self._label(job), result)
        return self._best.line(self._label(job))

    def _count(self, job: Job, early: bool) -> None:
        """early: it ended without some of its steps."""
        self._ended += 1
        self._changed = True
        self._running.pop(job.hash, None)
        self._estimate.ended(job, early)

    def _time_left(self) -> str:
        left_s = self._estimate.left_s(further_jobs=self._total() - self._ended - self._estimate.jobs_left)
        return "" if left_s is None else f"about {left_s / 60:.1f} min left"

    def _name(self, trial: Any) -> str:
        job = Job.from_json(trial.config["job"])
        return "base model and features" if job.prepares else self._label(job)
