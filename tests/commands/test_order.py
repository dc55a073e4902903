"""`tclap order` end to end: a checkpoint on every made-up suite, and what is refused."""

import json
import sys
from pathlib import Path

import pytest

from tclap.cli import main
from tclap.evaluation.suites import READERS
from tclap.models.mini import Mini
from tclap.training import checkpoint
from tests.evaluation.suites.made_up import MADE_UP


@pytest.mark.parametrize("suite", READERS)
def test_a_checkpoint_is_scored(
    suite: str, mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(tmp_path / "model", mini, {})
    path = MADE_UP[suite](tmp_path / "suite")
    flags = ["--model", str(tmp_path / "model"), "--json", str(tmp_path / "scores.json")]
    monkeypatch.setattr(sys, "argv", ["tclap", "order", *flags, suite, str(path)])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert 0 <= scores["item"]["low"] <= scores["item"]["value"] <= scores["item"]["high"] <= 100
    assert scores["items"] == scores["item"]["n"]
    printed = capsys.readouterr().out
    assert f"{suite}: {scores['items']} items of {scores['sounds']} sounds" in printed
    assert "right caption is nearest" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "mini", "plain", "x.csv"], "mini's base knows one dataset's classes"),
        (["--model", "nothing", "plain", "x.csv"], "unknown model 'nothing'"),
        (["--model", "laion", "winoground", "x.csv"], "unknown suite 'winoground'"),
        (["--model", "laion", "plain", "x.csv"], "x.csv not found"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tclap", "order", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
