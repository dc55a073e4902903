"""How many steps of stage B it takes until no case of order/moved is weak, with drawn timing on the synthetic default.

    python benchmarks/order_by_steps.py --steps 300,450,600,900

Each length is a training of its own, since the learning rate falls to its end. The rows are those of Table IV with
α_st = 1; stage A is that of `make sweep`, and each seed draws base, composites and batches anew. "weakest" is the
lowest case: a change point, a half, a gap, noise. Task 1 and 2A say what more steps cost. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tclap.config import LossCoefficients, with_seed
from tclap.data.synth import default_dataset
from tclap.evaluation.order import CASES
from tclap.evaluation.zste import metric_values
from tclap.experiment import Workspace, base_of, evaluate, open_workspace, train
from tclap.flags import TrainingFlags
from tclap.places import checkpoint_folder, local_folder
from tclap.training import checkpoint

ROWS = {"1 0 1 0": LossCoefficients(alpha_ct=0, alpha_co=0), "1 1 1 1": LossCoefficients()}
SHOWN = ("zste/1", "zste/2A", "zste/3A_order", "zste/order", "order/moved")


def scores_of(workspace: Workspace, folder: Path, stages: str, row: str, steps: int, seed: int) -> dict[str, float]:
    """Metrics of one training; stage A is trained once for a seed."""
    flags = TrainingFlags(steps_b=steps, vary_draws=True)
    configuration = flags.configuration(stages, ROWS[row], batch_size=40)  # type: ignore[arg-type]
    trained = with_seed(configuration, seed)
    parent = trained.parent
    start = base_of(workspace, trained)
    if parent is not None:
        after_a = local_folder(checkpoint_folder(folder, parent, seed))
        if not after_a.exists():
            model = checkpoint.load(start)
            train(workspace, parent, model, seed=seed)
            checkpoint.save(after_a, model, {})
        start = after_a
    model = checkpoint.load(start)
    train(workspace, trained, model, seed=seed)
    return metric_values(evaluate(workspace, trained.data, model, trained.data.eval_folds))


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=numbers, default=[300, 450, 600, 900], help="lengths of stage B")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--stages", nargs="+", default=["B", "AB"], choices=["B", "AB"])
    parser.add_argument("--folder", type=Path, default=Path("runs/order_by_steps"), help="for dataset and stages A")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    workspace = open_workspace(default_dataset(folder), folder / "cache")
    found = []
    print(f"{'':14}{'seed':>5}{'steps':>6}" + "".join(f"{name:>15}" for name in SHOWN) + "  weakest", flush=True)
    for stages in arguments.stages:
        for row in ROWS:
            for seed in arguments.seeds:
                for steps in arguments.steps:
                    values = scores_of(workspace, folder, stages, row, steps, seed)
                    weakest = min(CASES, key=lambda name, values=values: values[f"order/{name}"])
                    lowest = values[f"order/{weakest}"]
                    shown = "".join(f"{values[name]:15.1f}" for name in SHOWN)
                    print(f"{stages:3}{row:11}{seed:5}{steps:6}{shown}  {lowest:.1f} {weakest}", flush=True)
                    kept = {name: round(values[name], 1) for name in SHOWN} | {"weakest": round(lowest, 1)}
                    found.append({"stages": stages, "row": row, "seed": seed, "steps": steps, **kept})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
