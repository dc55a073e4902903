"""sweeps/findings.py: its plan, its commands, that it goes on, and its page from real results; Ray is not started."""

import importlib.util
import shlex
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from tclap.axes import expand
from tclap.flags import SweepSettings
from tclap.lanes import worker
from tclap.lanes.start import claimed, open_store, sweep_of
from tclap.report.findings import put_between_marks
from tclap.report.findings_data import of_plan, read_study
from tclap.sweep.job import Job
from tclap.sweep.plan import make_plan
from tclap.sweep.sweep import DEFAULT_OBJECTIVES
from tests.lanes.test_worker import desk

SCRIPT = Path(__file__).parents[1] / "sweeps" / "findings.py"
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    spec = importlib.util.spec_from_file_location("findings", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "findings", module)
    spec.loader.exec_module(module)
    return module


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *flags: object) -> int:
    monkeypatch.setattr(sys, "argv", ["findings.py", *map(str, flags)])
    code: int = script.main()
    return code


def test_the_plan_rotates_folds_and_its_commands_are_those_of_table4(
    script: ModuleType, root: Path, tmp_path: Path
) -> None:
    settings = script.FindingsSettings(data=root, storage=tmp_path, folds=(2, 5), seeds=(0, 1, 2))
    planned = list(script.units(settings))
    assert len({unit.name for unit in planned}) == len(planned) == 3 * (3 + 3 + 3 + 1)
    real = [unit for unit in planned if unit.part in ("esc50", "midpoint", "unseen")]
    assert {(unit.settings().seeds, unit.fold) for unit in real} == {((0,), 2), ((1,), 5), ((2,), 2)}
    first = [unit.settings().batch_sizes for unit in real[:9]]
    assert first == [(64,)] * 9, "what is broken off has all of its folds at one batch size"
    for unit in planned:
        given = unit.settings()
        assert given.vary_draws
        words = unit.command()[2:]
        assert f"--seeds {given.seeds[0]}" in shlex.join(words)
        if unit.part in ("esc50", "midpoint", "unseen"):
            assert given.eval_folds == (unit.fold,)
            assert sorted((*given.train_folds, *given.eval_folds, *given.test_folds)) == [1, 2, 3, 4, 5]
            assert given.match_steps
        assert given.timing == ("midpoint" if "midpoint" in unit.name else "drawn")
        assert given.holdout_classes == (10 if unit.part == "unseen" else 0)
        assert len(unit.configurations()) == 8
    part = script.FindingsSettings(part=("row-o",), storage=tmp_path, seeds=(3,))
    assert [unit.name for unit in script.units(part)] == [
        "findings-synthetic-drawn-printed-seed3",
        "findings-synthetic-drawn-alpha-seed3",
    ]


def test_flags_of_the_environment_and_the_home_folder_are_read_as_in_every_sweep(
    script: ModuleType, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.setenv("TCLAP_SEEDS", "0,1")
    monkeypatch.setenv("TCLAP_FOLDS", "2,3")
    monkeypatch.setenv("TCLAP_STORAGE", "~/none")
    flags = ["--part", "unseen", f"--data=~/{root.name}", "--dry-run"]
    assert run(script, monkeypatch, *flags) == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left")]
    assert len(commands) == 2
    for (seed, fold), command in zip([(0, 2), (1, 3)], commands, strict=True):
        words = f"--storage {root.parent}/none --vary-draws --data {root} "
        assert f"-fold{fold}-batch64-seed{seed} {words}" in command


def test_what_the_environment_says_of_real_sound_does_not_reach_the_synthetic_sweeps(
    script: ModuleType, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan() -> list[set[str]]:
        settings = script.FindingsSettings(part=("timing",), seeds=(0,), storage=tmp_path)
        return [unit.hashes() for unit in script.units(settings)]

    expected = plan()
    monkeypatch.setenv("TCLAP_USE_GPU", "true")  # of the machine, so it stays
    for name, value in {"DATA": root, "takes": 9, "STEPS_A": 9, "BASE_STEPS": 9, "HOLDOUT_CLASSES": 1}.items():
        monkeypatch.setenv(f"TCLAP_{name}", str(value))
    assert plan() != expected
    assert run(script, monkeypatch, "--part", "timing", "--seeds", "0", "--storage", tmp_path, "--dry-run") == 0
    assert plan() == expected
    assert SweepSettings().data is None
    assert SweepSettings().use_gpu


def test_real_sound_needs_its_data(script: ModuleType, root: Path, tmp_path: Path) -> None:
    with pytest.raises(script.InputError, match="the parts esc50 need ESC-50: --data"):
        script.to_run(script.FindingsSettings(part=("esc50",), storage=tmp_path))
    with pytest.raises(script.InputError, match="has no fold 7; its folds are 1, 2, 3, 4, 5"):
        script.to_run(script.FindingsSettings(part=("esc50",), data=root, folds=(7,), storage=tmp_path))


def test_it_goes_on_and_writes_the_page_from_what_has_ended(
    script: ModuleType, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(script.table4, "ROWS", script.table4.ROWS[::3])  # B 0000, B 1111, AB 0101
    begun: list[str] = []

    def without_ray(command: list[str], check: bool) -> SimpleNamespace:
        """What `python sweeps/table4.py ...` does, in this process."""
        begun.append(command[command.index("--name") + 1])
        settings = next(unit for unit in planned if unit.name == begun[-1]).settings()
        with claimed(settings, script.table4.configurations(settings)) as start:
            lane = desk(sweep_of(start, open_store(start), (), DEFAULT_OBJECTIVES))
            for job in make_plan(script.table4.configurations(settings), settings.seeds).jobs:
                assert lane.do(Job(job.configuration, job.seeds))["outcome"] == "done"
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(script, "subprocess", SimpleNamespace(run=without_ray))
    page = tmp_path / "findings.md"
    page.write_text("# Findings\n\nby hand\n", encoding="utf-8")
    flags = ["--quick", "--part", "esc50", "--data", root, "--storage", tmp_path, "--batch-sizes", "4"]
    flags += ["--out", page]
    planned = list(
        script.units(
            script.FindingsSettings(
                quick=True, part=("esc50",), data=root, storage=tmp_path, folds=(2, 3), seeds=(0, 1), batch_sizes=(4,)
            )
        )
    )
    assert run(script, monkeypatch, *flags, "--folds", "2,3", "--seeds", "0") == 0
    assert begun == ["findings-quick-esc50-fold2-batch4-seed0"]
    assert run(script, monkeypatch, *flags, "--folds", "2,3", "--seeds", "0,1", "--render") == 0
    assert "Not run, so not in what follows:\n\n- `findings-quick-esc50`: fold3-batch4-seed1\n" in page.read_text()
    assert run(script, monkeypatch, *flags, "--folds", "2,3", "--seeds", "0,1") == 0
    assert begun[1:] == ["findings-quick-esc50-fold3-batch4-seed1"]
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Findings\n\nby hand\n")
    assert "2 of the 2 sweeps of the plan have results." in text
    assert "esc50: forgetting: trained less base" in text
    assert "2 folds" in text
    assert run(script, monkeypatch, *flags, "--folds", "2,3", "--seeds", "0,1", "--render") == 0
    assert page.read_text(encoding="utf-8") == text  # to the last digit
    assert len(begun) == 2
    capsys.readouterr()
    assert run(script, monkeypatch, *flags, "--folds", "2,3", "--seeds", "0,1", "--dry-run") == 0
    assert capsys.readouterr().out.count("\ndone  ") == 2

    # On another machine, with the page and its csv: nothing is left, and what is run again is compared.
    numbers = page.with_suffix(".csv").read_bytes()
    page.write_text("# Findings\n\nby hand\n", encoding="utf-8")
    elsewhere = [*flags, "--folds", "2,3", "--seeds", "0,1", "--storage", tmp_path / "elsewhere"]
    assert run(script, monkeypatch, *elsewhere, "--go-on") == 0
    assert len(begun) == 2
    assert page.read_text(encoding="utf-8") == text
    assert page.with_suffix(".csv").read_bytes() == numbers
    capsys.readouterr()
    assert run(script, monkeypatch, *elsewhere, "--dry-run") == 0
    assert capsys.readouterr().out.count("\nleft  ") == 2  # from an empty storage all of it runs
    assert run(script, monkeypatch, *flags, "--folds", "2,3", "--seeds", "0,1", "--render") == 0
    assert "8 rows of the storage were in " in (told := " ".join(capsys.readouterr().out.split()))
    assert told.endswith("equal in every digit")


def test_the_kept_numbers_are_the_plans_and_make_the_page_beside_them(
    script: ModuleType,
) -> None:
    planned = script.whole_study(script.FindingsSettings())
    frame = read_study(DOCS / "findings.csv")
    assert len(of_plan(frame, {unit.name: unit.hashes() for unit in planned})) == len(frame)
    generated, ended = script.page_from(frame, planned)
    assert ended == frame["sweep"].nunique() > 0
    page = (DOCS / "findings.md").read_text(encoding="utf-8")
    assert put_between_marks(page, generated) == page


@pytest.mark.parametrize("flags", [(), ("--part", "row-o", "--seeds", "1")])
def test_the_studys_page_is_of_the_whole_study_whichever_part_is_run_or_rendered(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    kept = {name: (DOCS / name).read_bytes() for name in ("findings.md", "findings.csv")}
    (tmp_path / "docs").mkdir()
    for name, content in kept.items():
        (tmp_path / "docs" / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert run(script, monkeypatch, "--render", *flags) == 0
    assert {name: (tmp_path / "docs" / name).read_bytes() for name in kept} == kept
    assert run(script, monkeypatch, "--render", "--part", "row-o", "--out", "mine.md") == 0
    assert "0 of the 6 sweeps" in (tmp_path / "mine.md").read_text()


def test_a_trial_of_the_machinery_does_not_write_over_the_page(script: ModuleType, tmp_path: Path) -> None:
    assert script.FindingsSettings(storage=tmp_path).csv == Path("docs/findings.csv")
    assert script.FindingsSettings(storage=tmp_path, quick=True).page == tmp_path / "findings-quick.md"


def test_table4_still_expands_its_variations(script: ModuleType) -> None:
    settings = SweepSettings(vary=("lr=0.1,0.2",), batch_sizes=(8, 9))
    rows = script.table4.configurations(SweepSettings(batch_sizes=(8, 9)))
    assert len(rows) == 16
    assert script.table4.configurations(settings) == expand(rows, settings.variations())
