"""What fifty jobs do to a lane's memory, and how soon an idle lane takes up the child of a stage that has ended.

    python benchmarks/lane_life.py        # about five minutes

memory: 50 short trainings of stage B on one lane of one worker, with real features and real MLflow; the resident size
of the worker is sampled twice a second, and the median of the last ten jobs is compared with that of jobs 11 to 20.
pickup: one stage A with two children, on two lanes: seconds from the end of stage A's MLflow run to the start of each
child's. The last line is one JSON object. Use a quiet machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import psutil
import ray
from mlflow import MlflowClient
from mlflow.entities import Run

from tclap.config import Configuration, LossCoefficients
from tclap.data.synth import write_dataset
from tclap.flags import SweepSettings
from tclap.lanes.driver import run_sweep

JOBS, STEPS, TEN = 50, 20, 10
WORKER = "ray::RayTrainWorker"


def settings_in(folder: Path, name: str, lanes: int) -> SweepSettings:
    data = folder / "data"
    if not data.exists():
        write_dataset(data, classes=6, clips=10, seed=0)
    flags = {"steps_a": STEPS, "steps_b": STEPS, "base_steps": 10, "takes": 4, "eval_takes": 1, "batch_sizes": (10,)}
    return SweepSettings(data=data, storage=folder, name=name, concurrent_trials=lanes, _cli_parse_args=False, **flags)


def sweep(settings: SweepSettings, configurations: list[Configuration]) -> list[Run]:
    """Run it on a Ray of its own; its child runs in the order in which they started."""
    os.environ.pop("RAY_ADDRESS", None)  # of the Ray before
    ray.init(num_cpus=settings.concurrent_trials, log_to_driver=False, logging_level="CRITICAL")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            code = run_sweep(settings, configurations, "table4")
    finally:
        ray.shutdown()
    assert code == 0
    client = MlflowClient(f"sqlite:///{settings.storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tclap")
    runs = client.search_runs([experiment.experiment_id], f"tags.sweep = '{settings.name}'", max_results=5000)
    return sorted((r for r in runs if r.data.tags["kind"] != "sweep"), key=lambda run: run.info.start_time)


class Sampler:
    """(time, resident MB) of every worker of a lane, twice a second."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.5):
            for process in psutil.process_iter(["cmdline", "memory_info"]):
                if " ".join(process.info["cmdline"] or ()).startswith(WORKER):
                    self.samples.append((time.time(), process.info["memory_info"].rss / 1e6))


def memory(folder: Path) -> dict[str, float]:
    settings = settings_in(folder, "memory", lanes=1)
    configurations = [settings.configuration("B", LossCoefficients(alpha_st=i / JOBS), 10) for i in range(JOBS)]
    with Sampler() as sampler:
        runs = sweep(settings, configurations)
    assert len(runs) == JOBS

    def resident_mb(first: int, last: int) -> float:
        start_s, end_s = runs[first].info.start_time / 1000, runs[last - 1].info.end_time / 1000
        return median(mb for at_s, mb in sampler.samples if start_s <= at_s <= end_s)

    early_mb, late_mb = resident_mb(TEN, 2 * TEN), resident_mb(JOBS - TEN, JOBS)
    growth = late_mb / early_mb - 1
    print(
        f"worker: {early_mb:.0f} MB in jobs 11 to 20, {late_mb:.0f} MB in the last ten of {JOBS}: {100 * growth:+.1f}%"
    )
    return {"early_mb": round(early_mb), "late_mb": round(late_mb), "growth_percent": round(100 * growth, 2)}


def pickup(folder: Path) -> dict[str, float]:
    settings = settings_in(folder, "pickup", lanes=2)
    children = [settings.configuration("AB", LossCoefficients(alpha_st=alpha), 10) for alpha in (0, 1)]
    stage_a, *later = sweep(settings, children)
    waits = [(run.info.start_time - stage_a.info.end_time) / 1000 for run in later]
    print(f"children of stage A began {', '.join(f'{wait:.2f}' for wait in waits)} s after its end")
    return {f"pickup_{i}_s": round(wait, 2) for i, wait in enumerate(waits)}


def main() -> None:
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as scratch:
        figures = {**memory(Path(scratch)), **pickup(Path(scratch))}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
