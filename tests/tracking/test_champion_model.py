"""A checkpoint of any model as MLflow's pyfunc: loaded in a process and a folder that know nothing of its code."""

import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import soundfile
from mlflow.pyfunc import PythonModelContext

from tclap import models, plugins
from tclap.tracking.champion import CODE, SIGNATURE
from tclap.tracking.champion_model import Champion
from tclap.training import checkpoint

MY_MODEL = Path(__file__).parents[2] / "examples" / "my_model.py"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a user's model, in which the process stands."""
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(MY_MODEL, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    yield folder
    sys.modules.pop("my_model", None)


def test_a_users_model_travels_with_its_code(mine, root, tmp_path, monkeypatch):
    model = models.load("my_model:build")
    checkpoint.save(tmp_path / "checkpoint", model, {})
    code = plugins.code_paths("my_model:build", plugins.MODELS)
    assert code == [mine / "my_model.py"]
    assert plugins.code_paths("mini", plugins.MODELS) == []
    assert plugins.code_paths("pytest:main", plugins.MODELS) == []
    mlflow.pyfunc.save_model(
        tmp_path / "pyfunc",
        python_model=str(CODE),
        artifacts={"checkpoint": str(tmp_path / "checkpoint")},
        code_paths=list(map(str, code)),
        pip_requirements=[],
        signature=SIGNATURE,
    )
    shutil.rmtree(mine)
    sound = next((root / "audio").iterdir())
    program = (
        f"import mlflow; model = mlflow.pyfunc.load_model({str(tmp_path / 'pyfunc')!r});"
        f"print(model.predict({{'audio': [{str(sound)!r}], 'text': ['a hum']}}).shape)"
    )
    monkeypatch.chdir("/")
    monkeypatch.setenv("PYTHONPATH", str(MY_MODEL.parents[1]))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("(1, 1)"), done.stderr


def test_a_file_longer_than_a_window_is_warned_of(mini, tmp_path):
    checkpoint.save(tmp_path / "checkpoint", mini, {})
    sounds = {"window.wav": 2, "long.wav": 3}
    for name, seconds in sounds.items():
        soundfile.write(tmp_path / name, np.sin(np.arange(16_000 * seconds)), 16_000)
    champion = Champion()
    champion.load_context(PythonModelContext({"checkpoint": str(tmp_path / "checkpoint")}, {}))
    audio = [str(tmp_path / name) for name in sounds]
    with pytest.warns(UserWarning, match=r"longer than a window of 2 s: \S*long\.wav: heard in windows"):
        found = champion.predict(None, pd.DataFrame([{"audio": audio, "text": ["hum before tick"]}]))
    assert found.shape == (2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        champion.predict(None, pd.DataFrame([{"audio": audio[:1], "text": ["hum before tick"]}]))
