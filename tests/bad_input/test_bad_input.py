"""Each case against the real commands: exit code 2 and one line on stderr, without a traceback or a password, and the
storage as it was."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tclap import cli
from tclap.console import run_or_exit
from tclap.sweep.ledger import Result, write_result
from tclap.training import checkpoint
from tests.bad_input.cases import CASES, PASSWORD
from tests.bad_input.given import Case, Given

ROOT = Path(__file__).parents[2]
NAMES_OWN = ("driver.lock", "study-owner")  # a lock that nobody holds, and the name of a folder
passed: list[Case] = []


@pytest.fixture(scope="module")
def template(tmp_path_factory, root):
    """What every case gets a copy of."""
    from tclap.data.captions import vocabulary
    from tclap.data.dataset import read_index
    from tclap.models.mini import Mini

    folder = tmp_path_factory.mktemp("given")
    given = Given(folder)
    shutil.copytree(root, given.data)
    checkpoint.save(given.checkpoint, Mini(vocabulary(read_index(root).class_names), init_seed=0), {})
    given.captions.write_text(f"file_name,caption_1\n{given.clip.name},a dog\n")
    given.storage.mkdir()
    write_result(given.storage / "earlier" / "trials" / "0123" / "seed-0", Result("0123", 0, {}, 1.0, 3, "here"))
    MlflowClient(f"sqlite:///{given.storage}/mlflow.db").create_experiment("tclap")
    return folder


@pytest.fixture
def run(template, tmp_path, monkeypatch):
    """Run a case's command in this process, and give back what it had; Ray must not be reached."""
    import ray

    def refuse(**options):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.syspath_prepend(str(ROOT / "sweeps"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)

    def run(case: Case) -> tuple[int, dict[str, bytes], dict[str, bytes], Given]:
        shutil.copytree(template, tmp_path / "given")
        given = Given(tmp_path / "given")
        monkeypatch.chdir(given.folder)
        names = {name: getattr(given, name) for name in ("folder", "data", "clip", "checkpoint", "storage", "captions")}
        case.spoil(given)
        for name, value in case.environment.items():
            monkeypatch.setenv(name, value)
        before = contents(given.storage)
        script, *flags = (word.format(**names) for word in case.command.split("|"))
        monkeypatch.setattr(sys, "argv", [script, *flags])
        main = cli.main if script == "tclap" else importlib.import_module(script.removesuffix(".py")).main
        with pytest.raises(SystemExit) as stopped:
            run_or_exit(main)
        return stopped.value.code, before, contents(given.storage), given

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("case", CASES, ids=[f"{n}: {case.says[:40]}" for n, case in enumerate(CASES)])
def test_it_is_one_line(case: Case, run, capsys) -> None:
    code, before, after, given = run(case)
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    assert code == 2, (out, err)
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert case.says.format(folder=given.folder) in lines[0]
    assert "Traceback" not in out + err
    assert PASSWORD not in out + err
    # What was there is as it was; what is new is what may be there without a run: caches, and a lock.
    assert {name: after.get(name) for name in before} == before
    new = {name for name in after.keys() - before.keys() if not name.startswith("cache/")}
    assert new <= {f"{name}/{file}" for name in ("table4", "search") for file in NAMES_OWN}
    passed.append(case)


def test_a_hundred_of_a_hundred() -> None:
    print(f"{len(passed)} of {len(CASES)} bad inputs: exit code 2, one line, storage unchanged", file=sys.__stdout__)
    assert len(CASES) >= 100
    assert len({(case.command, case.says, str(case.environment)) for case in CASES}) >= 95, "they are different ones"
