"""What the service costs: wall time of the default sweep over that of the same stages in one plain process.

    python benchmarks/sweep_overhead.py [flags of sweeps/table4.py]

Both start from nothing (no base model, no features) on the same dataset, one after the other; the plain process may
use every core for each stage, the sweep runs as many one-core lanes at once as there are cores. Two further figures:
`start_s`, from the script's start to the first job's first step; and `extra_s_per_configuration`, what a configuration
costs a lane over its own training and evaluation. The last line is one JSON object. Use a quiet machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient
from pydantic_settings import CliApp

from tclap.config import LossCoefficients
from tclap.data.synth import default_dataset
from tclap.experiment import base_of, evaluate, open_workspace, prepare, provenance, train
from tclap.flags import SweepSettings
from tclap.places import checkpoint_folder
from tclap.sweep.ledger import read_ledger
from tclap.sweep.plan import Plan, make_plan
from tclap.training import checkpoint

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "sweeps"))


def plain(plan: Plan, data: Path, folder: Path) -> dict[str, float]:
    """Seconds of every part, all of it in this process."""
    started = time.perf_counter()
    workspace = open_workspace(data, folder / "cache")
    prepare(workspace, plan.trials()[0])
    prepared = time.perf_counter()
    train_s = evaluate_s = 0.0
    for job in plan.jobs:
        configuration = job.configuration
        for seed in plan.seeds:
            parent = configuration.parent
            start = checkpoint_folder(folder, parent, seed) if parent else base_of(workspace, configuration)
            before = time.perf_counter()
            model = checkpoint.load(start)
            train(workspace, configuration, model, seed=seed)
            trained = time.perf_counter()
            evaluate(workspace, configuration.data, model, configuration.data.eval_folds)
            place = checkpoint_folder(folder, configuration, seed)
            checkpoint.save(place, model, provenance(workspace, configuration, seed))
            train_s += trained - before
            evaluate_s += time.perf_counter() - trained
    total_s = time.perf_counter() - started
    return {"wall_s": total_s, "prepare_s": prepared - started, "train_s": train_s, "evaluate_s": evaluate_s}


def swept(flags: list[str], data: Path, storage: Path) -> tuple[float, float]:
    """Wall seconds of the sweep script, from its start to its exit; and when it started, as time.time()."""
    command = [sys.executable, "sweeps/table4.py", *flags, "--data", str(data), "--storage", str(storage)]
    began, started = time.time(), time.perf_counter()
    environment = {**os.environ, "RAY_ADDRESS": "local", "MLFLOW_TRACKING_URI": ""}
    subprocess.run(command, cwd=REPO, check=True, stdout=sys.stderr, env=environment)
    return time.perf_counter() - started, began


def between_runs(storage: Path, began: float) -> tuple[float, float]:
    """(start_s, extra_s_per_configuration) from the times that MLflow has of each run.

    A run lasts from before its first step until after its last write, so what lies between the end of one and the
    start of the next on the same lane is what the service adds.
    """
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tclap")
    runs = client.search_runs([experiment.experiment_id], "tags.kind != 'sweep'", max_results=5000)
    spans = sorted((r.info.start_time / 1000, r.info.end_time / 1000, r.data.metrics["train_s"]) for r in runs)
    lanes: list[float] = []  # when each lane was free last
    extra = []
    for start, end, train_s in spans:
        free = [at for at in lanes if at <= start]
        if free:
            lanes.remove(max(free))
            extra.append(end - max(free) - train_s)
        lanes.append(end)
    return spans[0][0] - began, sum(extra) / len(extra)


def main() -> None:
    from table4 import ROWS

    settings = CliApp.run(SweepSettings)
    configurations = [
        settings.configuration(stages, LossCoefficients(alpha_st=st, alpha_ct=ct, alpha_so=so, alpha_co=co), size)
        for size in settings.batch_sizes
        for stages, st, ct, so, co, _ in ROWS
    ]
    plan = make_plan(configurations, settings.seeds)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        data = settings.data or default_dataset(root)
        sweep_s, began = swept(sys.argv[1:], data, root / "swept")
        done = read_ledger(root / "swept" / settings.name).results
        start_s, between_s = between_runs(root / "swept", began)
        alone = plain(plan, data, root / "plain")
    extra_s = between_s - alone["evaluate_s"] / len(done)
    figures = {
        "runs": len(done),
        "cores": os.cpu_count(),
        "sweep_wall_s": round(sweep_s, 1),
        "start_s": round(start_s, 1),
        "sweep_training_s": round(sum(r.train_s for r in done.values()), 1),
        **{f"plain_{name}": round(value, 1) for name, value in alone.items()},
        "extra_s_per_configuration": round(extra_s, 2),
        "ratio": round(sweep_s / alone["wall_s"], 2),
    }
    trained_s = figures["sweep_training_s"]
    print(f"sweep {sweep_s:.0f} s, {start_s:.0f} s of it before the first job; its lanes trained for {trained_s:.0f} s")
    print(f"plain process {alone['wall_s']:.0f} s, of which training {alone['train_s']:.0f} s")
    print(f"one more configuration costs a lane {extra_s:.2f} s over its training and evaluation")
    print(f"ratio {figures['ratio']}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
