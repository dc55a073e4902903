"""The workers of a lane: one Ray Train worker group, started once and handed job after job."""

from __future__ import annotations

import threading
import uuid
from dataclasses import asdict
from typing import Any

import ray
import ray.train
import ray.train.torch

from tclap.lanes.failures import JobFailed, Lost, of_group
from tclap.lanes.mailbox import Report
from tclap.lanes.trainer import LaneTrainer
from tclap.sweep.sweep import Sweep

LOOK_EVERY_S = 1.0
# How long workers wait in a collective for one that works alone (retrieval, what is made for an object store). A worker
# that dies ends the group whatever this is.
PEERS_WAIT_S = 6 * 3600
GRACE_S = 20.0  # for workers that were told that there are no more jobs


def _work(arguments: dict[str, Any]) -> None:
    """The Train function. What it does takes seconds to import, and only the workers need it."""
    from tclap.lanes.worker import work

    work(Sweep(**arguments["sweep"]), arguments["mailbox"], arguments["lane"])


class Group:
    """Starts at once, and waits until there is room. `fit()` lasts as long as the group, so it has a thread."""

    def __init__(self, sweep: Sweep, mailbox: ray.actor.ActorHandle) -> None:
        self._sweep, self._mailbox = sweep, mailbox
        self._name = f"lane-{uuid.uuid4().hex[:8]}"  # of this group alone: another one's jobs are none of its own
        self._failure: Lost | JobFailed | None = None
        self._thread = threading.Thread(target=self._fit, name=self._name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def hand(self, job: str) -> None:
        ray.get(self._mailbox.put.remote(self._name, job))

    def next_report(self) -> Report:
        """What the workers report next. Raises Lost, or the job's own JobFailed, if the group ends instead."""
        while True:
            report: Report | None = ray.get(self._mailbox.next_report.remote(self._name, LOOK_EVERY_S))
            if report is not None:
                return report
            if not self.is_alive:
                raise self._failure or Lost("its workers ended without a word")

    def end(self) -> None:
        """Tell the workers, if there still are any, that there are no more jobs, wait for them, and empty the mailbox
        of what is theirs; whoever does not go is killed by Ray, when the process that started the group ends."""
        if self.is_alive:
            ray.get(self._mailbox.put.remote(self._name, None))
            self._thread.join(GRACE_S)
        ray.get(self._mailbox.forget.remote(self._name))

    def _fit(self) -> None:
        gpus = self._sweep.gpus_per_worker
        scaling = ray.train.ScalingConfig(
            num_workers=self._sweep.workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": 1, **({"GPU": gpus} if gpus else {})},
        )
        trainer = LaneTrainer(
            _work,
            train_loop_config={"sweep": asdict(self._sweep), "mailbox": self._mailbox, "lane": self._name},
            scaling_config=scaling,
            run_config=ray.train.RunConfig(
                name=self._name,
                storage_path=f"{self._sweep.folder}/ray",
                # Train cannot tell a bug from a lost worker, and its retries would multiply Tune's. A group that it
                # started again, on a node that is about to go, would take the lane's first job once more.
                failure_config=ray.train.FailureConfig(max_failures=0, max_preemption_failures=0),
            ),
            torch_config=ray.train.torch.TorchConfig(timeout_s=PEERS_WAIT_S),
        )
        try:
            trainer.fit()
        except ray.train.WorkerGroupError as error:
            self._failure = of_group(error.worker_failures)
        except Exception as error:  # noqa: BLE001 (whatever it is, this thread has nobody else to tell)
            self._failure = Lost(f"{type(error).__name__}: {error}")
