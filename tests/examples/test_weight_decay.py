"""A sweep of one's own, from a folder of its own: short, and planned as it says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "examples" / "weight_decay.py"


def dry_run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(PAGE, folder)
    command = [sys.executable, PAGE.name, "--dry-run", "--storage", "runs", *flags]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_script_is_ten_lines() -> None:
    code = [line for line in PAGE.read_text(encoding="utf-8").split('"""')[2].splitlines() if line.strip()]
    assert len([line for line in code if not line.startswith(("if __name__", "    run_or_exit"))]) <= 10


def test_it_plans_a_configuration_for_each_weight_decay(tmp_path: Path) -> None:
    done = dry_run(tmp_path, "--seeds", "0,1,2")
    assert done.returncode == 0, done.stderr
    for value in ("0", "0.01", "0.1"):
        assert f"  weight_decay {value}  (300 steps)" in done.stdout, done.stdout
    assert "3 configurations and 0 stage-A runs, seeds 0, 1, 2" in done.stdout


def test_vary_multiplies_its_configurations(tmp_path: Path) -> None:
    done = dry_run(tmp_path, "--vary", "alpha_st=0,1")
    assert done.returncode == 0, done.stderr
    assert "6 configurations and 0 stage-A runs" in done.stdout


def test_a_wrong_axis_of_a_script_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(PAGE.read_text(encoding="utf-8").replace("weight_decay=", "weight_decoy="))
    done = subprocess.run([sys.executable, "wrong.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "did you mean optimiser_b.weight_decay?" in done.stderr
