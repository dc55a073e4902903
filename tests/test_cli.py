"""The `tclap` command: help and version without the science, every command behind its name."""

import importlib
import subprocess
import sys

import pytest

import tclap
from tclap.cli import COMMANDS, command_line, main
from tclap.commands.data import Data

HEAVY = ("torch", "torchaudio", "scipy", "pandas", "numpy", "matplotlib", "mlflow", "ray", "optuna", "transformers")


@pytest.mark.parametrize("flags", [["--help"], ["--version"], []])
def test_help_and_version_import_nothing_heavy(flags: list[str]) -> None:
    code = (
        "import sys\n"
        "from tclap.cli import main\n"
        "try:\n"
        f"    sys.argv[1:] = {flags!r}\n"
        "    main()\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print('heavy:', *(name for name in {HEAVY!r} if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1].strip() == "heavy:"


def test_python_m_tclap_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "tclap", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"tclap {tclap.__version__}"


def test_help_lists_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["tclap", "--help"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, (_, _, description) in COMMANDS.items():
        assert f"{name} {description}" in text


def test_help_says_what_each_command_of_data_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tclap", "data", "--help"])
    with pytest.raises(SystemExit):
        main()
    text = " ".join(capsys.readouterr().out.split())
    for name, field in Data.model_fields.items():
        assert field.description
        assert f"{field.alias or name} {field.description}" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert name.replace("-", "_") in command_line(name).model_fields
    monkeypatch.setattr(sys, "argv", ["tclap", name, "--help"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    assert f"usage: tclap {name} " in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS.values(),
        *(("tclap.commands.data", name, "") for name in ("Synth", "Esc50", "Import", "Check", "Preview")),
    ],
    ids=lambda command: command[1],
)
def test_every_flag_says_what_it_is(command: tuple[str, str, str]) -> None:
    flags = getattr(importlib.import_module(command[0]), command[1]).model_fields
    assert [name for name, field in flags.items() if not field.description] == []


@pytest.mark.parametrize(
    ("flags", "message"), [(["nonsense"], "invalid choice: 'nonsense'"), ([], "a command is missing: data, models")]
)
def test_an_unknown_or_missing_command_is_one_line(
    flags: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tclap", *flags])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
