"""A seed's MLflow run, written beside its training: one thread makes every call, in order, and training rarely waits.

Each call takes MLflow 15 to 100 ms. What waits is bounded; `flush` returns when all of it is written, and raises what
went wrong. A worker that dies loses what was not flushed, and who goes on from its last state logs those steps again.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlflow import MlflowClient
from mlflow.entities import Metric

from tclap.axes import find_axis
from tclap.config import Configuration
from tclap.evaluation.details import Details
from tclap.evaluation.statistics import Score
from tclap.places import at, seed_folder
from tclap.sweep.ledger import read_result
from tclap.sweep.sweep import Sweep
from tclap.tracking import runs
from tclap.tracking.system import SystemMetrics

WRITE_EVERY_S = 2.0
WAITING_AT_MOST = 8  # writes that have not ended; then training waits for the oldest


class RunBeside:
    """The run that `open_run` gives, RUNNING while the block lasts; does nothing unless `active`.

    open_run: returns a client and the run's id; called in the thread.

    Steps that the run has already, logged by a process that was killed, are not logged again: the same configuration
    and seed gives the same losses.
    """

    def __init__(self, open_run: Callable[[], tuple[MlflowClient, str]], *, active: bool) -> None:
        self._open_run, self._active = open_run, active
        # It has taken a step. Until then one that was stopped early may be stopped again where it stands, and be done.
        self._goes_on = False
        self._buffer: list[Metric] = []
        self._waiting: deque[Future[Any]] = deque()
        self._written_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._active:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlflow")
            self._waiting.append(self._thread.submit(self._open))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._active:
            return
        if error is not None:
            with contextlib.suppress(Exception):  # the losses before it went wrong, unless that is what went wrong
                self.flush()
        self._thread.shutdown(cancel_futures=True)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log training metrics of one step, soon. Raises what an earlier write raised."""
        if not self._active:
            return
        now_ms = int(time.time() * 1000)
        self._buffer += [Metric(f"train/{name}", value, now_ms, step) for name, value in metrics.items()]
        if len(self._buffer) >= runs.BATCH_METRICS or time.monotonic() - self._written_at > WRITE_EVERY_S:
            self._write()

    def score(self, step: int, values: Mapping[str, float]) -> None:
        """Log what the suite gave after so many steps, metrics by their names, soon. Raises as `log` does."""
        if self._active:
            self._waiting.append(self._thread.submit(self._log_scores, step, dict(values), int(time.time() * 1000)))
            self._settle(WAITING_AT_MOST)

    def flush(self) -> None:
        """Return when everything is written."""
        if self._active:
            self._write()
            self._settle(0)

    def killed(self) -> None:
        """End the run as KILLED, to be taken up again."""
        if self._active:
            self.flush()
            self._client.set_terminated(self._run_id, "KILLED")

    def failed(self, trace: str) -> None:
        """Leave a traceback on the run and end it as FAILED."""
        if self._active:
            with contextlib.suppress(Exception):  # MLflow may be what failed; the caller raises its own error
                self.flush()
            with contextlib.suppress(Exception):
                runs.fail(self._client, self._run_id, trace)

    def finish(
        self,
        scores: Mapping[str, Score],
        saved: Path,
        extra: Mapping[str, float],
        step: int,
        details: Details | None = None,
        stopped: str = "",
    ) -> str:
        """Write everything of a seed that has ended after so many steps, and end the run; returns its id.

        stopped: why it was stopped early, if it was.
        """
        self.flush()
        self._system.log()  # a run of a few seconds has it once
        logged = step in self._scored
        runs.finish(self._client, self._run_id, scores, saved, extra, step, details, logged, stopped)
        return self._run_id

    def _open(self) -> None:
        self._client, self._run_id = self._open_run()
        history = self._client.get_metric_history(self._run_id, "train/loss")
        self._first = 1 + max((metric.step for metric in history), default=-1)
        self._scored = {metric.step for metric in self._client.get_metric_history(self._run_id, runs.ALWAYS_SCORED)}
        self._system = SystemMetrics(self._client, self._run_id)

    def _write(self) -> None:
        batch, self._buffer = self._buffer, []
        self._written_at = time.monotonic()
        if batch:
            self._waiting.append(self._thread.submit(self._log_batch, batch))
        self._settle(WAITING_AT_MOST)

    def _log_batch(self, batch: list[Metric]) -> None:
        if not self._goes_on:
            runs.go_on(self._client, self._run_id)
            self._goes_on = True
        new = [metric for metric in batch if metric.step >= self._first]
        for start in range(0, len(new), runs.BATCH_METRICS):
            self._client.log_batch(self._run_id, metrics=new[start : start + runs.BATCH_METRICS])
        self._system.log_when_due()

    def _log_scores(self, step: int, values: dict[str, float], now_ms: int) -> None:
        if step not in self._scored:
            self._client.log_batch(self._run_id, [Metric(name, value, now_ms, step) for name, value in values.items()])
            self._scored.add(step)

    def _settle(self, left: int) -> None:
        """Wait until at most `left` writes have not ended; raises what an ended one raised."""
        while self._waiting and (len(self._waiting) > left or self._waiting[0].done()):
            self._waiting.popleft().result()


def open_run(sweep: Sweep, configuration: Configuration, seed: int) -> tuple[MlflowClient, str]:
    """A client, and the id of the seed's run, which is made if it does not exist, and RUNNING."""
    client, _ = runs.connect(sweep.tracking_uri, at(sweep.folder).parent)
    parent = configuration.parent
    stage_a = None if parent is None else read_result(seed_folder(at(sweep.folder), parent, seed))
    run_id = runs.child_run(
        client,
        sweep.experiment_id,
        sweep.name,
        sweep.parent_run_id,
        configuration,
        seed,
        stage_a.run_id if stage_a else None,
        [find_axis(name) for name in sweep.varying],
    )
    return client, run_id


def leave_traceback(sweep: Sweep, configuration: Configuration, seed: int, trace: str) -> None:
    """Fail the seed's run with a traceback; the run is made if its worker had not come so far."""
    client, _ = runs.connect(sweep.tracking_uri, at(sweep.folder).parent)
    found = runs.find_runs(client, sweep.experiment_id, runs.identity_of(sweep.name, configuration, seed))
    run_id = found[0].info.run_id if found else open_run(sweep, configuration, seed)[1]
    runs.fail(client, run_id, trace)
