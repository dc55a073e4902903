"""Several trials on one GPU: Table IV with four, two and one lane on it, from the same cached features.

    PYTHONPATH=. python benchmarks/gpu_packing.py [--lanes 1,2,4] --data data/esc50 [other flags of sweeps/table4.py]

msclap-2022 with random weights, no download, unless --model says another. The sweep with most lanes comes first and
makes base and features for all, so only the trials' times compare: from the start of the first run in MLflow to the
end of the last. A command's time is its whole. Needs a CUDA device. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from tclap.tracking import runs
from tclap.tracking.read import existing_store

TABLE4 = Path(__file__).parents[1] / "sweeps" / "table4.py"


def sweep(name: str, lanes: int, storage: Path, flags: list[str]) -> dict[str, float]:
    command = [sys.executable, str(TABLE4), "--name", name, "--storage", str(storage), "--use-gpu"]
    command += ["--gpus-per-worker", str(1 / lanes), *flags]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    whole_s = time.perf_counter() - start
    client, experiment_id, _ = existing_store(storage)
    done = runs.find_runs(client, experiment_id, {"sweep": name, "kind": runs.KIND_TRIAL, "done": "true"})
    jobs_s = (max(run.info.end_time for run in done) - min(run.info.start_time for run in done)) / 1000
    figures = {"trials": len(done), "command_s": round(whole_s, 1), "trials_s": round(jobs_s, 1)}
    print(f"{lanes} lanes a GPU: {figures}", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", default="1,2,4", help="lanes on the GPU, comma-separated")
    parser.add_argument("--model", default="msclap-2022", help="with random weights")
    arguments, flags = parser.parse_known_args()
    lanes = [int(number) for number in arguments.lanes.split(",")]
    flags = ["--model", arguments.model, "--weights", "random", *flags]
    if not torch.cuda.is_available():
        parser.error("needs a CUDA device")
    with tempfile.TemporaryDirectory() as scratch:
        storage = Path(scratch)
        result: dict[str, object] = {"device": torch.cuda.get_device_name()}
        for number in sorted(lanes, reverse=True):
            result[f"{number} lanes"] = sweep(f"packing-{number}", number, storage, flags)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
