"""What the high-pass before choosing events does to a table: the same sweep without it and with it.

    python benchmarks/high_pass.py --data ESC50 [flags of sweeps/table4.py]

Both are real sweeps below one --storage, named `without` and `with`; nothing else differs. The last line is one JSON
object: the mean over configurations of each column, without and with.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import ray
import wrapt
from pydantic_settings import CliApp

from tclap.flags import SweepSettings

REPO = Path(__file__).parents[1]
WAYS = ("without", "with")
INSIDE = "TCLAP_WITHOUT_HIGH_PASS"


def leave_out() -> None:
    """Have this process hear clips as they are."""

    def replace(audio: ModuleType) -> None:
        audio.high_pass = lambda mono, sample_rate_hz: mono  # type: ignore[attr-defined]

    wrapt.register_post_import_hook(replace, "tclap.data.audio")


def sweep(way: str, flags: list[str], storage: Path) -> pd.DataFrame:
    """Run the sweep in a process of its own; returns its table."""
    # Features are named by what is in the files, so each way has a cache of its own.
    place = storage / way
    command = [sys.executable, __file__, *flags, "--storage", str(place), "--name", way]
    environment = {**os.environ, "RAY_ADDRESS": "local", "MLFLOW_TRACKING_URI": "", INSIDE: way}
    subprocess.run(command, cwd=REPO, check=True, stdout=sys.stderr, env=environment)
    return pd.read_csv(place / way / "table4.csv")


def inside(way: str) -> None:
    path = f"{REPO}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    hook = {"worker_process_setup_hook": "benchmarks.high_pass.leave_out"} if way == "without" else {}
    if way == "without":
        leave_out()
    ray.init(num_cpus=os.cpu_count(), runtime_env={"env_vars": {"PYTHONPATH": path}, **hook}, log_to_driver=False)
    runpy.run_path(str(REPO / "sweeps" / "table4.py"), run_name="__main__")


def main() -> None:
    if INSIDE in os.environ:
        inside(os.environ[INSIDE])
        return
    settings = CliApp.run(SweepSettings)
    assert isinstance(settings.storage, Path), "a folder"
    tables = {way: sweep(way, sys.argv[1:], settings.storage.resolve()) for way in WAYS}
    for way, table in tables.items():
        print(way)
        print(table.round(1).to_string(index=False))
    print(json.dumps({way: table.mean(numeric_only=True).round(2).to_dict() for way, table in tables.items()}))


if __name__ == "__main__":
    main()
