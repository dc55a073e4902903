"""What Ray costs: wall time of the default sweep over that of the same stages in one plain process.

    python benchmarks/sweep_overhead.py [flags of sweeps/table4.py]

Both start from nothing (no base model, no features) on the same dataset, one after the other; the plain process may
use every core for each stage, the sweep runs as many one-core trials at once as there are cores. The last line is
one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydantic_settings import CliApp

from tclap.config import Configuration, LossCoefficients
from tclap.data.synth import default_dataset
from tclap.experiment import base_of, evaluate, open_workspace, prepare, provenance, train
from tclap.flags import SweepSettings
from tclap.places import checkpoint_folder
from tclap.sweep.plan import Plan, make_plan, results
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
    for configuration in (c for wave in plan.waves for c in wave):
        for seed in plan.seeds:
            start = start_of(workspace, folder, configuration, seed)
            before = time.perf_counter()
            model = train(workspace, configuration, seed, start, lambda step, metrics: None)
            trained = time.perf_counter()
            evaluate(workspace, configuration.data, model, configuration.data.eval_folds)
            place = checkpoint_folder(folder, configuration, seed)
            checkpoint.save(place, model, provenance(workspace, configuration, seed))
            train_s += trained - before
            evaluate_s += time.perf_counter() - trained
    total_s = time.perf_counter() - started
    return {"wall_s": total_s, "prepare_s": prepared - started, "train_s": train_s, "evaluate_s": evaluate_s}


def start_of(workspace, folder: Path, configuration: Configuration, seed: int) -> Path:
    if configuration.stages == "AB":
        return checkpoint_folder(folder, configuration.stage_a_configuration(), seed)
    return base_of(workspace, configuration)


def swept(flags: list[str], data: Path, storage: Path) -> float:
    """Wall seconds of the sweep script, from its start to its exit."""
    command = [sys.executable, "sweeps/table4.py", *flags, "--data", str(data), "--storage", str(storage)]
    started = time.perf_counter()
    subprocess.run(command, cwd=REPO, check=True, stdout=sys.stderr, env={**os.environ, "RAY_ADDRESS": "local"})
    return time.perf_counter() - started


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
        sweep_s = swept(sys.argv[1:], data, root / "swept")
        done = results(plan, root / "swept" / settings.name)
        alone = plain(plan, data, root / "plain")
    figures = {
        "runs": len(done),
        "cores": os.cpu_count(),
        "sweep_wall_s": round(sweep_s, 1),
        "sweep_training_s": round(sum(r.train_s for r in done.values()), 1),
        **{f"plain_{name}": round(value, 1) for name, value in alone.items()},
        "ratio": round(sweep_s / alone["wall_s"], 2),
    }
    print(
        f"sweep {sweep_s:.0f} s, of which its workers trained {figures['sweep_training_s']:.0f} s in all (side by side)"
    )
    print(f"plain process {alone['wall_s']:.0f} s, of which training {alone['train_s']:.0f} s")
    print(f"ratio {figures['ratio']}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
