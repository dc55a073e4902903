"""The notebook runs, what the code cites of the design is there, and (slow) the site builds without a dead link."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def environment() -> dict[str, str]:
    """With this checkout's package and this interpreter's commands first."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    commands = [str(Path(sys.executable).parent), os.environ["PATH"]]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PATH": os.pathsep.join(commands)}


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(DOCS / "first_steps.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output
    )
    loss = re.search(r"loss ([\d.]+) -> ([\d.]+) in 20 steps", printed)
    assert loss is not None
    assert float(loss[2]) < float(loss[1])
    assert re.search(r"3A_order +[\d.]+%", printed)


def test_the_notebook_holds_no_output() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(DOCS / "first_steps.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_every_section_of_the_design_that_code_cites_is_there() -> None:
    sections = set(re.findall(r"^## (\d+)\.", (DOCS / "design.md").read_text(encoding="utf-8"), re.M))
    cited = {}
    for file in [*(ROOT / "tclap").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for numbers in re.findall(r"\bdesign ((?:\d+)(?:(?:, | and )\d+)*)", file.read_text(encoding="utf-8")):
            for number in re.findall(r"\d+", numbers):
                cited.setdefault(number, file.name)
    assert {"3", "5", "6", "7"} <= cited.keys()
    assert cited.keys() - sections == set(), cited


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "3A_order" in (tmp_path / "site" / "quickstart" / "index.html").read_text(encoding="utf-8")
