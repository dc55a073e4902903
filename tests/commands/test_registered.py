"""A registered model by its address, for each command that takes one, from a small real registry."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tclap.cli import main
from tclap.data import captions
from tclap.data.dataset import Dataset
from tclap.models.mini import Mini
from tclap.tracking import champion
from tclap.tracking import runs as tracking
from tclap.training import checkpoint
from tests.evaluation.suites.made_up import MADE_UP
from tests.helpers import tclap


@dataclass(frozen=True)
class Registry:
    """A storage whose champion is the checkpoint `ours`; its version 2 is something that is no checkpoint."""

    storage: Path
    ours: Path


@pytest.fixture(scope="module")
def registry(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    storage, ours = folder / "runs", folder / "1" / "artifacts" / "checkpoint"
    checkpoint.save(ours, Mini(captions.vocabulary(dataset.class_names), init_seed=0), {})
    (folder / "2").mkdir()
    storage.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        client, experiment = tracking.connect(tracking.tracking_uri(storage), storage)
        client.create_registered_model(champion.MODEL)
        for version in ("1", "2"):
            run = client.create_run(experiment)
            client.create_model_version(champion.MODEL, (folder / version).as_uri(), run.info.run_id)
        champion.promote(client, "1")
        yield Registry(storage, ours)


@pytest.fixture
def questions(dataset: Dataset, tmp_path: Path) -> dict[str, list[object]]:
    """What each command asks, on its command line."""
    clips = [dataset.path(clip) for clip in range(3)]
    (tmp_path / "captions.csv").write_text("\n".join(["file_name,caption_1", *(f"{c.name},ticks" for c in clips)]))
    return {
        "order": ["plain", MADE_UP["plain"](tmp_path / "suite")],
        "retrieval": ["--audio", dataset.audio, "--captions", tmp_path / "captions.csv"],
        "score": [clips[0], "ticks before hum"],
        "zste": ["--data", dataset.root, "--folds", "4", "--eval-takes", "1"],
    }


@pytest.mark.parametrize("command", ["order", "retrieval", "score", "zste"])
def test_it_answers_as_the_checkpoint_that_it_is(
    command: str, registry: Registry, questions: dict[str, list[object]]
) -> None:
    flag = [] if command == "score" else ["--model"]
    said = tclap(command, *flag, champion.ADDRESS, *questions[command], "--storage", registry.storage)
    assert said == tclap(command, *flag, registry.ours, *questions[command])
    says = {"order": "plain: ", "retrieval": "3 clips, 3 captions", "score": "ticks before hum", "zste": "3A_order"}
    assert says[command] in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "models:/tclap@nobody"], "models:/tclap@nobody cannot be had from MLflow"),
        (["--model", "models:/tclap/2"], "models:/tclap/2 is not a model that `tclap best` registered"),
        (["--model", champion.ADDRESS, "--weights", "w"], f"--weights w: {champion.ADDRESS} is a checkpoint, which"),
        (["--model", champion.ADDRESS, "--storage", "elsewhere"], "no MLflow store at"),
        (["--model", "mini"], "mini's base knows one dataset's classes"),
        ([], "--model: Field required"),
    ],
)
@pytest.mark.parametrize("command", ["order", "retrieval"])
def test_what_cannot_be_asked_is_one_line(
    command: str,
    flags: list[str],
    message: str,
    registry: Registry,
    questions: dict[str, list[object]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(registry.storage.parent)  # so that its storage is the default one, runs
    monkeypatch.setattr(sys, "argv", ["tclap", command, *flags, *map(str, questions[command])])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
