"""Instead of training: a worker of a lane that sleeps, and scores that follow from the configuration.

Everything around it is real: Ray, Tune, lanes, mailbox, ledger, MLflow. It is put in place in Ray's processes by
`ray.init(runtime_env=runtime_env(job_s))`, before the sweep starts.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import wrapt

from tclap.config import Configuration
from tclap.evaluation.statistics import Score

REPO = Path(__file__).parents[1]
SECONDS = "TCLAP_STAND_IN_S"
COLUMNS = ("1", "2A", "2B", "2C", "2D", "3A", "3B", "4A", "4B", "5A", "5B", "3A_order", "5A_both", "5B_both")


def runtime_env(job_s: float) -> dict[str, Any]:
    """For ray.init: jobs of so many seconds."""
    return {
        "env_vars": {"PYTHONPATH": str(REPO), SECONDS: str(job_s)},
        "worker_process_setup_hook": "benchmarks.stand_in.install",
    }


def install() -> None:
    """Have this process stand in for training, should it ever be a lane's worker."""
    wrapt.register_post_import_hook(_replace, "tclap.lanes.worker")


def scores_of(configuration: Configuration) -> dict[str, Score]:
    """Every column: 50, and more for α_st (temporal tasks) and less for β (task 1)."""
    c = configuration.coefficients
    values = dict.fromkeys(COLUMNS, 50.0)
    if c is not None:
        temporal = 40.0 + 30 * min(c.alpha_st, 1)
        values |= {"1": 70.0 - 9 * min(c.beta, 1), **dict.fromkeys(("3A", "3B", "4A", "4B"), temporal)}
    return {name: Score(value, value - 5, value + 5, 100, 50.0) for name, value in values.items()}


def _replace(worker: ModuleType) -> None:
    trained: dict[str, Configuration] = {}

    def train(workspace: object, configuration: Configuration, model: object, *, report: Any, **_: Any) -> bool:
        trained["last"] = configuration
        began, step = time.monotonic(), 0
        while time.monotonic() - began < float(os.environ[SECONDS]):
            time.sleep(min(0.05, float(os.environ[SECONDS])))
            report(step, {"loss": 1.0 / (1 + step)})
            step += 1
        return True

    def save(folder: Path, model: object, provenance: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text("{}")

    worker.train = train  # type: ignore[attr-defined]
    worker.evaluate = lambda *_: scores_of(trained["last"])  # type: ignore[attr-defined]
    worker.make_shared = lambda *_: None  # type: ignore[attr-defined]
    worker.base_of = lambda *_: Path()  # type: ignore[attr-defined]
    worker.Desk._model_at = lambda *_: None  # type: ignore[attr-defined]
    worker.checkpoint = SimpleNamespace(save=save)  # type: ignore[attr-defined]
