"""A sweep of one's own, from a folder of its own: short, and planned as it says."""

import runpy
import shutil
from pathlib import Path

import pytest

from tclap.console import console

PAGE = Path(__file__).parents[2] / "examples" / "weight_decay.py"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Run a copy of the script in a folder of its own, as `python weight_decay.py` would; returns its exit code."""
    shutil.copy(PAGE, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "_width", 200)

    def run(*flags: str, name: str = PAGE.name) -> int:
        monkeypatch.setattr("sys.argv", [name, *flags])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(name, run_name="__main__")
        return ended.value.code

    return run


def test_the_script_is_ten_lines() -> None:
    code = [line for line in PAGE.read_text(encoding="utf-8").split('"""')[2].splitlines() if line.strip()]
    assert len([line for line in code if not line.startswith(("if __name__", "    run_or_exit"))]) <= 10


def test_it_plans_a_configuration_for_each_weight_decay(script, capsys) -> None:
    assert script("--dry-run", "--storage", "runs", "--seeds", "0,1,2") == 0
    shown = capsys.readouterr().out
    for value in ("0", "0.01", "0.1"):
        assert f"  weight_decay {value}  (450 steps)" in shown, shown
    assert "3 configurations and 0 stage-A runs, seeds 0, 1, 2" in shown


def test_vary_multiplies_its_configurations(script, capsys) -> None:
    assert script("--dry-run", "--storage", "runs", "--vary", "alpha_st=0,1") == 0
    assert "6 configurations and 0 stage-A runs" in capsys.readouterr().out


def test_a_wrong_axis_of_a_script_is_one_line(script, capsys, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(PAGE.read_text(encoding="utf-8").replace("weight_decay=", "weight_decoy="))
    assert script(name="wrong.py") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "did you mean optimiser_b.weight_decay?" in line
