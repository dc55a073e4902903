"""A checkpoint of any model as MLflow's pyfunc: loaded in a process and a folder that know nothing of its code."""

import shutil
import subprocess
import sys
from pathlib import Path

import mlflow.pyfunc
import pytest

from tclap import models, plugins
from tclap.tracking.champion import CODE, SIGNATURE
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
