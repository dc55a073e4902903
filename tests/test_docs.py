"""The notebook runs, what the code cites of the design and what the site shows is there; (slow) the site builds."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from tclap.cli import COMMANDS
from tclap.flags import SweepSettings
from tclap.report.findings import BEGIN
from tclap.search_flags import SearchSettings

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


def test_what_the_summary_of_the_findings_quotes_stands_in_the_tables_below_it() -> None:
    """Each decimal number, each interval or range, and each difference with its interval in one line."""
    by_hand, _, tables = (DOCS / "findings.md").read_text(encoding="utf-8").partition(BEGIN)
    summary = by_hand.partition("## What the sweeps")[2].partition("## What was changed")[0]
    summary = " ".join(summary.replace("\u2212", "-").split())
    told = set(re.findall(r"\d+\.\d+", tables))
    assert sorted(set(re.findall(r"\d+\.\d+", summary)) - told) == []
    number = r"([+-]?\d+\.\d)"
    ranges = re.findall(rf"(?<![\d(+-]){number} to {number}", summary)
    assert [r for r in ranges if f" {r[0]} to {r[1]} " not in tables] == []
    intervals = re.findall(rf"{number} \({number} to {number}", summary)
    assert len(intervals) > 10
    for mean, low, high in intervals:
        line = rf"\| {re.escape(mean)} +\| {re.escape(f'{low} to {high}')} "
        assert re.search(line, tables), (mean, low, high)


def test_every_section_of_the_design_that_code_cites_is_there() -> None:
    sections = set(re.findall(r"^## (\d+)\.", (DOCS / "design.md").read_text(encoding="utf-8"), re.M))
    cited = {}
    for file in [*(ROOT / "tclap").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for numbers in re.findall(r"\bdesign ((?:\d+)(?:(?:, | and )\d+)*)", file.read_text(encoding="utf-8")):
            for number in re.findall(r"\d+", numbers):
                cited.setdefault(number, file.name)
    assert {"3", "5", "6", "7"} <= cited.keys()
    assert cited.keys() - sections == set(), cited


def shown_commands() -> list[str]:
    """Each command line of the site's blocks of bash, wherever it stands, without its comment."""
    found = []
    for page in sorted(DOCS.rglob("*.md")):
        for block in re.findall(r"^```bash.*?\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            lines = block.replace("\\\n", " ").splitlines()
            found += [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return list(dict.fromkeys(found))


def words_of(line: str) -> list[str]:
    """Without what redirects its output, and what is left to the reader ("...", "…")."""
    return [word for word in shlex.split(line.split(" 2>&1")[0].split(" | ")[0]) if word not in ("...", "…")]


@pytest.mark.parametrize("line", [c for c in shown_commands() if re.search(r"\bsweeps/(table4|search)\.py", c)])
def test_a_script_of_the_site_takes_its_flags(line: str) -> None:
    words = words_of(line)
    script = next(n for n, word in enumerate(words) if word.endswith(".py"))
    kind = SearchSettings if words[script].endswith("search.py") else SweepSettings
    flags = [flag.replace("my_model:build", "mini") for flag in words[script + 1 :]]
    if "weight_decoy" in line:  # shown to be refused
        with pytest.raises(ValidationError, match="did you mean"):
            kind(_cli_parse_args=flags)
    else:
        kind(_cli_parse_args=flags)


@pytest.mark.parametrize("line", [c for c in shown_commands() if re.match(r"(\S+/)?tclap [a-z]", c)])
def test_a_command_of_the_site_has_its_flags(line: str) -> None:
    _, name, *rest = words_of(line)
    module, class_name, _ = COMMANDS[name]
    command = getattr(importlib.import_module(module), class_name)
    if name == "data":
        own = {field.alias or name: field for name, field in command.model_fields.items()}
        command = next(kind for kind in get_args(own[rest[0]].annotation) if kind is not type(None))
    flags = {f"--{field.alias or name}".replace("_", "-") for name, field in command.model_fields.items()}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= flags


def test_the_site_shows_commands_of_each_kind() -> None:
    shown = shown_commands()
    assert sum("sweeps/" in line for line in shown) > 8
    assert sum("tclap " in line for line in shown) > 12


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "3A_order" in (tmp_path / "site" / "quickstart" / "index.html").read_text(encoding="utf-8")
