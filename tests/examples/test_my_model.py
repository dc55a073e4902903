"""The page that a user copies: checked, scored, trained and loaded again, from a folder of its own."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from tclap import cli, models
from tclap.config import ModelSettings
from tclap.training import checkpoint

PAGE = Path(__file__).parents[2] / "examples" / "my_model.py"


@pytest.fixture
def tclap(monkeypatch, tmp_path):
    """Run a command in a folder that holds a user's model, whose module is forgotten afterwards."""
    shutil.copy(PAGE, tmp_path / "my_model.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.delitem(sys.modules, "my_model", raising=False)

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["tclap", *map(str, flags)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code

    yield run
    sys.modules.pop("my_model", None)


def test_the_model_is_25_lines():
    code = [line for line in PAGE.read_text().split('"""')[2].splitlines() if line.strip()]
    assert len(code) <= 25


def test_from_check_to_score(tclap, root, tmp_path, capsys):
    assert tclap("check-model", "my_model:build") == 0
    shown = capsys.readouterr().out
    assert "all 11 checks passed" in shown
    assert "an oracle" in shown

    assert tclap("zste", "--model", "my_model:build", "--data", root, "--folds", "4", "--json", "zste.json") == 0
    assert 0 <= json.loads((tmp_path / "zste.json").read_text())["3A_order"]["value"] <= 100

    training = ["--batch-size", 15, "--steps-a", 3, "--steps-b", 6, "--takes", 2, "--eval-takes", 1]
    capsys.readouterr()
    assert tclap("train", "--model", "my_model:build", "--data", root, *training) == 0
    place = Path(capsys.readouterr().out.strip().rsplit("checkpoint: ", 1)[1])
    assert checkpoint.read_config(place)["model"] == {"name": "my_model:build", "seed": 0}
    assert not models.load("my_model:build").own.audio.weight_hh_l0.equal(checkpoint.load(place).own.audio.weight_hh_l0)
    sound, text = next((root / "audio").iterdir()), "a hum before ticks"
    assert tclap("score", place, sound, text) == 0
    trained = capsys.readouterr().out
    assert tclap("score", "my_model:build", sound, text) == 0
    assert trained != capsys.readouterr().out


def test_an_edit_or_other_weights_are_another_model(tclap, tmp_path):
    named = ModelSettings(name="my_model:build")
    one = models.identified(named)
    assert one.identity is not None
    assert one == models.identified(named)
    models.user._identity.cache_clear()
    assert models.identified(named.model_copy(update={"base_seed": 1})).identity != one.identity
    sys.modules.pop("my_model")
    (tmp_path / "my_model.py").write_text(PAGE.read_text().replace("1e-5", "1e-4"))
    models.user._identity.cache_clear()
    assert models.identified(named).identity != one.identity


def test_the_folder_is_handed_on_to_processes_started_here(tclap, tmp_path, monkeypatch):
    import os
    import subprocess

    models.load("my_model:build")
    assert str(tmp_path) in os.environ["PYTHONPATH"].split(os.pathsep)
    monkeypatch.chdir("/")
    subprocess.run([sys.executable, "-c", "import my_model"], check=True)


def test_a_model_that_ignores_time_is_told_so_and_fails(tclap, tmp_path, capsys):
    (tmp_path / "my_model.py").write_text(
        PAGE.read_text().replace("self.audio(features)[0].mean(1)", "features.mean(1)")
    )
    assert tclap("check-model", "my_model:build") == 1
    shown = capsys.readouterr().out
    assert "FAIL hears order" in shown
    assert "it cannot hear which comes first" in shown
    assert "1 of 11 checks failed: hears order" in shown


def test_an_embedder_of_mine_is_checked_and_scored(tclap, root, tmp_path, capsys):
    code = (
        "import numpy as np\n"
        "class E:\n"
        "    def encode_audio(self, audio, sample_rate_hz):\n"
        "        return np.stack([np.abs(x).reshape(8, -1).mean(1) for x in audio])\n"
        "    def encode_text(self, texts):\n"
        "        placed = [np.arange(len(t)) * np.frombuffer(t.encode(), np.uint8) % 8 for t in texts]\n"
        "        return np.stack([np.bincount(x, minlength=8) for x in placed]).astype(float)\n"
    )
    (tmp_path / "my_model.py").write_text(code)
    assert tclap("check-model", "my_model:E") == 0
    assert "all 10 checks passed" in capsys.readouterr().out
    assert tclap("zste", "--model", "my_model:E", "--data", root, "--folds", "4", "--eval-takes", "1") == 0
    assert tclap("train", "--model", "my_model:E", "--data", root, "--batch-size", "15") == 2
    assert "my_model:E is an embedder: it can be scored, but has nothing to train" in capsys.readouterr().err
