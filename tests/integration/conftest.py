"""Real Ray and MLflow in real processes; each sweep is tiny, and most of its time is processes starting."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
# 8 takes make more than one chunk of features, and so more than one process that extracts them.
TINY = "--batch-sizes=6 --takes=8 --eval-takes=1 --steps-a=4 --steps-b=4 --base-steps=10".split()  # noqa: SIM905


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.integration)


def run(*command, timeout_s=600):
    """Run a python command line from the repository, in a Ray of its own; returns the finished process."""
    settings = {**os.environ, "RAY_ADDRESS": "local", "PYTHONPATH": str(REPO)}
    settings.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=REPO, env=settings, capture_output=True, text=True, timeout=timeout_s
    )


def rows_program(rows):
    """A sweep script for only some rows: [(stages, LossCoefficients arguments)]."""
    return (
        "import sys; from pydantic_settings import CliApp; from tclap.command_line import run_or_exit;"
        "from tclap.config import LossCoefficients; from tclap.orchestrate.sweep import run_sweep;"
        "from tclap.sweep_settings import SweepSettings; s = CliApp.run(SweepSettings);"
        f"rows = [s.configuration(stages, LossCoefficients(**c), s.batch_sizes[0]) for stages, c in {rows!r}];"
        "run_or_exit(lambda: run_sweep(s, rows, 'table4'))"
    )


def run_rows(rows, *flags, timeout_s=600):
    """Run such a script under the flags of a sweep; returns the finished process."""
    return run("-c", rows_program(rows), *flags, timeout_s=timeout_s)
