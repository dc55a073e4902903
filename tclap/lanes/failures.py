"""What went wrong, and what follows: the one table.

| what | for example | what follows |
|---|---|---|
| BUG | an error of the job's own code or data, a loss that is NaN, memory that does not suffice | the job has FAILED, with its traceback on its MLflow run, and is not tried again |
| LOST | a worker, a lane, a node or the mailbox is gone, or a peer of this worker | Tune tries the job again in a fresh lane, from its last state |
| AWAY | MLflow does not answer, though its client has tried for minutes; or the storage does not | the same |

A worker says which it was by the class that it raises: `JobFailed`, or `Lost` for the other two.
"""  # noqa: E501

from __future__ import annotations

import traceback
from collections.abc import Mapping

from tclap.places import does_not_answer

LESS_MEMORY = (
    "The same command goes on with less memory: --chunk 64 encodes 64 windows of a batch at once, --gpus-per-worker 1 "
    "gives a lane a GPU of its own"
)


class Lost(Exception):
    """To be tried again in a fresh lane."""


class JobFailed(Exception):
    """What a job's own code raised, with its traceback, which does not travel with an exception."""

    def __init__(self, reason: str, trace: str, seed: int | None) -> None:
        super().__init__(reason, trace, seed)  # what it is unpickled from
        self.reason, self.trace, self.seed = reason, trace, seed


def is_rays(error: BaseException) -> bool:
    """Whether Ray raised it: a worker, a process or a node is gone. Some of these classes are not public."""
    return type(error).__module__.partition(".")[0] == "ray"


def of_worker(error: Exception, seed: int | None, tracking_is_away: bool) -> Lost | JobFailed:
    """What an exception in a worker's job means; call it while the exception is handled."""
    import torch  # which a lane's own process does without

    from tclap import distributed

    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, torch.OutOfMemoryError):
        reason += f". {LESS_MEMORY}"
    if is_rays(error) or distributed.lost_a_peer(error) or tracking_is_away or does_not_answer(error):
        return Lost(reason)
    return JobFailed(reason, traceback.format_exc(), seed)


def of_group(failures: Mapping[int, BaseException]) -> Lost | JobFailed:
    """What the errors of a worker group, by rank, mean for its job.

    If a worker has died, the others fail with all sorts of errors, so one death makes it a loss. If it was a bug, the
    job fails again, and then nobody dies.
    """
    own = [error for error in failures.values() if isinstance(error, JobFailed)]
    died = [error for error in failures.values() if is_rays(error)]
    if own and not died:
        return own[0]
    others = [error for error in failures.values() if not isinstance(error, Lost) and not is_rays(error)]
    if others and not died and not any(isinstance(error, Lost) for error in failures.values()):
        return JobFailed(f"{type(others[0]).__name__}: {others[0]}", str(others[0]), None)
    return Lost("; ".join(f"worker {rank}: {error}" for rank, error in failures.items()) or "the workers are gone")
