"""A thousand jobs of one second, ten thousand finished configurations, and a search over 354 294 points.

    python benchmarks/scale.py [jobs] [finished] [search]      # all three by default; a quarter of an hour

jobs: 1000 one-second jobs on two lanes through real Tune, lanes, mailbox and MLflow on SQLite, with training replaced
by a stand-in that sleeps; the floor is 500 s. finished: seconds of the dry run, of the same command again, and of the
table, for 1000, 3000 and 10 000 finished configurations on this disk and in MLflow on SQLite. search: seconds of an
`ask` after 2000 points, without a cluster. The last line is one JSON object. Use a quiet machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray
from stand_in import runtime_env, scores_of
from stored_runs import log_finished

from tclap.config import Configuration, LossCoefficients
from tclap.data.synth import write_dataset
from tclap.flags import SweepSettings
from tclap.lanes.driver import run_sweep
from tclap.places import seed_folder
from tclap.report.tables import result_frame, write_tables
from tclap.search_flags import SearchSettings
from tclap.sweep import space
from tclap.sweep import study as studies
from tclap.sweep.ledger import Result, read_ledger, write_result
from tclap.sweep.outcome import Outcome
from tclap.sweep.plan import make_plan

JOBS, JOB_S, LANES = 1000, 1.0, 2
SIZES = (1000, 3000, 10_000)
ASKS, AVERAGED = 2000, 50


def settings_in(folder: Path, name: str, **more: Any) -> SweepSettings:
    data = folder / "data"
    if not data.exists():
        write_dataset(data, classes=6, clips=10, seed=0)
    return SweepSettings(data=data, storage=folder, name=name, batch_sizes=(4,), _cli_parse_args=False, **more)


def configurations(settings: SweepSettings, n: int) -> list[Configuration]:
    """n configurations of stage B that differ in α_st."""
    return [settings.configuration("B", LossCoefficients(alpha_st=i / n), 4) for i in range(n)]


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        call()
    return time.perf_counter() - started


def jobs(folder: Path) -> dict[str, float]:
    settings = settings_in(folder, "jobs", concurrent_trials=LANES)
    ray.init(num_cpus=LANES, runtime_env=runtime_env(JOB_S), log_to_driver=False, logging_level="CRITICAL")
    try:
        wall_s = seconds(lambda: run_sweep(settings, configurations(settings, JOBS), "table4"))
    finally:
        ray.shutdown()
    floor_s = JOBS * JOB_S / LANES
    print(f"{JOBS} jobs of {JOB_S:g} s on {LANES} lanes: {wall_s:.0f} s, {wall_s / floor_s:.2f} times {floor_s:.0f} s")
    return {"jobs_wall_s": round(wall_s, 1), "jobs_ratio": round(wall_s / floor_s, 3)}


def finished(folder: Path) -> dict[str, float]:
    figures = {}
    for n in SIZES:
        settings = settings_in(folder, f"finished-{n}")
        plan = make_plan(configurations(settings, n), settings.seeds)
        trials = plan.trials()
        run_ids = log_finished(settings, trials, scores_of(trials[0]))
        for job, run_id in zip(plan.jobs, run_ids, strict=True):
            result = Result(job.hash, 0, scores_of(job.configuration), 1.0, 150, "here", run_id)
            write_result(seed_folder(settings.sweep_folder, job.configuration, 0), result)
        dry = settings.model_copy(update={"dry_run": True})
        ledger = read_ledger(settings.sweep_folder)
        measured = {
            "dry_run_s": seconds(lambda s=dry, t=trials: run_sweep(s, t, "table4")),
            "resume_s": seconds(lambda s=settings, t=trials: run_sweep(s, t, "table4")),
            "table_s": seconds(
                lambda s=settings, t=trials, done=ledger: write_tables(
                    result_frame(t, done.results), s.sweep_folder / "again"
                )
            ),
        }
        print(f"{n:6} finished: " + ", ".join(f"{name} {value:.1f}" for name, value in measured.items()))
        figures |= {f"{name}_{n}": round(value, 2) for name, value in measured.items()}
    return figures


def search(folder: Path) -> dict[str, float]:
    settings = SearchSettings(any_alpha=True, batch_sizes=(20, 30, 40), _cli_parse_args=False)
    choices, rng = settings.choices(), np.random.default_rng(0)
    figures = {}
    for sampler in ("random", "tpe"):
        study = studies.open_study(sampler, folder / f"{sampler}.journal", sampler, 0, settings.objectives)
        spent = []
        for _ in range(ASKS + AVERAGED):
            started = time.perf_counter()
            trial = studies.ask(study, choices, ASKS + AVERAGED, False, 0)
            spent.append(time.perf_counter() - started)
            assert trial is not None
            values = [50 + 20 * trial.params["alpha_st"] + rng.normal(), 70 - 5 * trial.params["beta"] + rng.normal()]
            studies.tell(study, trial.number, Outcome(values))
        figures[f"ask_s_{sampler}"] = round(float(np.mean(spent[-AVERAGED:])), 3)
        print(f"{sampler}: an ask after {ASKS} of {space.size(choices)} points takes {figures[f'ask_s_{sampler}']} s")
    return figures


def main() -> None:
    parts: dict[str, Callable[[Path], dict[str, float]]] = {"jobs": jobs, "finished": finished, "search": search}
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    figures: dict[str, float] = {"cores": float(os.cpu_count() or 0)}
    with tempfile.TemporaryDirectory() as scratch:
        for name in sys.argv[1:] or list(parts):
            figures |= parts[name](Path(scratch))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
