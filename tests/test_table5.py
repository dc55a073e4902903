"""`sweeps/table5.py` without Ray: from its flags to the table, the exit code and one MLflow run a model."""

import errno
import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from tclap.config import DataSettings
from tclap.console import run_or_exit
from tclap.data.draws import held_out_classes
from tclap.evaluation.embed import zste_scores
from tclap.lanes import preflight
from tclap.lanes.scoring import Scoring, score_model
from tclap.tracking import champion
from tclap.tracking import runs as tracking
from tclap.training import checkpoint
from tests.helpers import write_csv

SCRIPT = Path(__file__).parents[1] / "sweeps" / "table5.py"
MY_MODEL = Path(__file__).parents[1] / "examples" / "my_model.py"


@pytest.fixture
def table5(monkeypatch, tmp_path):
    """Run the script in a folder with a user's model, each model in this process."""
    from tclap.errors import InputError
    from tclap.report.table5 import ScoredModel

    def in_process(models, scoring, use_gpu):
        for label, model in reversed(models.items()):  # as tasks end: in no order
            try:
                yield score_model(label, *model, scoring, use_gpu)
            except InputError as error:
                yield ScoredModel(label, problem=str(error))

    spec = importlib.util.spec_from_file_location("table5", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(preflight, "connect_ray", lambda runtime_env: None)
    monkeypatch.setattr(module, "score_models", in_process)
    monkeypatch.setattr("tclap.lanes.scoring.best_device", lambda: pytest.fail("no GPU was asked for"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    shutil.copy(MY_MODEL, tmp_path / "my_model.py")

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["table5.py", *map(str, flags)])
        with pytest.raises(SystemExit) as stopped:
            run_or_exit(module.main)
        return stopped.value.code

    run.script = module
    yield run
    sys.modules.pop("my_model", None)


def test_a_row_and_a_run_for_each_model_and_1_for_one_that_cannot_be_had(table5, root, mini, tmp_path):
    checkpoint.save(tmp_path / "trained", mini, {})
    models = ["mini", "trained", "my_model:build", "laion"]
    flags = ["--data", root, "--folds", "4", "--eval-takes", "1", "--base-steps", "3", "--storage", "runs"]
    for _ in range(2):  # the second time goes on with the runs of the first
        assert table5("--models", ",".join(models), *flags) == 1
    lines = pd.read_csv("runs/table5/table5.csv")
    assert list(dict.fromkeys(lines["model"])) == ["mini", str(tmp_path / "trained"), "my_model:build", "laion"]
    assert lines.set_index("model").loc["laion", "note"].startswith("model.safetensors for laion is not here")
    shown = Path("runs/table5/table5.md").read_text()
    assert "*paper* CompA-CLAP" in shown
    assert "laion is not scored: model.safetensors" in shown
    assert "sounds lie where drawn timing has them" in shown

    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("tclap").experiment_id])
    kinds = {run.data.tags.get("model", "list"): run for run in runs}
    assert len(runs) == len(kinds) == 5
    assert kinds["list"].info.status == kinds["laion"].info.status == "FAILED"
    assert "is not here" in kinds["laion"].data.tags["problem"]
    mine = kinds["my_model:build"]
    assert mine.info.status == "FINISHED"
    assert mine.data.tags["mlflow.parentRunId"] == kinds["list"].info.run_id
    assert [mine.data.params[name] for name in ("timing", "draw_seed", "eval_takes")] == ["drawn", "0", "1"]
    value = lines.query("model == 'my_model:build' and task == '3A_order'")["value"].item()
    assert mine.data.metrics["zste/3A_order"] == pytest.approx(value)
    files = {file.path for file in client.list_artifacts(kinds["list"].info.run_id)}
    assert files == {"table5.csv", "table5.md", "table5.html"}
    assert table5("--models", "mini", *flags, "--name", "alone") == 0


def test_a_csv_is_scored_and_not_what_else_lies_in_its_folder(table5, root, dataset, tmp_path):
    """Its folder holds a dataset in ESC-50's layout, too, which has one class more."""
    place = Path(shutil.copytree(root, tmp_path / "both"))
    known = np.flatnonzero(dataset.class_ids < 5)
    fewer = replace(
        dataset,
        root=place,
        filenames=tuple(dataset.filenames[n] for n in known),
        folds=dataset.folds[known],
        class_ids=dataset.class_ids[known],
        recordings=dataset.recordings[known],
    )
    csv = write_csv(fewer, place / "mine.csv")
    flags = ["--data", csv, "--folds", "4", "--eval-takes", "1", "--base-steps", "3", "--storage", "runs"]
    assert table5("--models", "mini", *flags) == 0
    lines = pd.read_csv("runs/table5/table5.csv").set_index("task")
    assert lines.loc["1", ["n", "chance"]].tolist() == [10, 20]


@pytest.fixture
def scores_of(root, dataset_digest, tmp_path):
    """The scores of a model on fold 4, as a task of the list finds them."""

    def score(name, **asked):
        settings = DataSettings(eval_takes=1, **asked)
        places = {"data": str(root), "dataset_digest": dataset_digest, "cache": str(tmp_path / "cache")}
        scoring = Scoring(**places, folds=(4,), train_folds=(1,), base_steps=3, asked=settings)
        return score_model(name, name, None, scoring, False)

    return lambda name, **asked: score(str(name), **asked).scores


def test_a_checkpoint_is_asked_what_all_are_whatever_it_was_trained_with(
    scores_of, dataset, dataset_digest, mini, tmp_path
):
    """What it has not seen are the classes that its own seed held out, which are others than those of the list's."""
    trained = DataSettings(holdout_classes=2, draw_seed=3, timing="midpoint", prompts=("{}", "hear {}"), eval_takes=2)
    made = {"configuration": {"data": trained.model_dump(mode="json")}, "dataset_digest": dataset_digest}
    checkpoint.save(tmp_path / "trained", mini, made)
    checkpoint.save(tmp_path / "plain", mini, {})
    unseen = held_out_classes(6, 2, 3)
    assert set(unseen) != set(held_out_classes(6, 2, 0))
    for asked in ({}, {"timing": "midpoint"}):
        questions = DataSettings(eval_takes=1, **asked)
        expected = zste_scores(mini, dataset, dataset_digest, (4,), questions, tmp_path / "cache", unseen)
        own = scores_of(tmp_path / "trained", **asked)
        assert own == expected
        plain = scores_of(tmp_path / "plain", **asked)
        assert plain == {name: score for name, score in own.items() if "unseen" not in name}
    assert scores_of(tmp_path / "plain") != plain


def test_a_list_that_is_broken_off_does_not_stay_running(table5, root, tmp_path, monkeypatch):
    for error, status in ((KeyboardInterrupt(), "KILLED"), (OSError(errno.ENOSPC, "No space left"), "FAILED")):

        def broken(*_, error=error):
            raise error

        monkeypatch.setattr(table5.script, "write", broken)
        flags = ["--data", root, "--folds", "4", "--eval-takes", "1", "--base-steps", "3", "--storage", "runs"]
        assert table5("--models", "mini", *flags, "--name", status) in (2, 130)
        client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
        runs = client.search_runs(
            [client.get_experiment_by_name("tclap").experiment_id], f"tags.model_list = '{status}'"
        )
        assert {run.info.status for run in runs if "model" not in run.data.tags} == {status}


def test_its_results_must_outlive_a_job(table5, root, monkeypatch, capsys):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert table5("--models", "mini", "--data", root) == 2
    assert "is in the job's folder and would vanish with it" in capsys.readouterr().err


def test_an_unknown_flag_is_one_line_and_no_usage(table5, capsys):
    assert table5("--models", "mini", "--bogus") == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: --bogus\n"


def test_its_flags_may_be_set_in_the_environment(table5, root, monkeypatch, capsys):
    monkeypatch.setenv("TCLAP_MODELS", "mini,mni")
    assert table5("--data", root) == 2
    assert "unknown model 'mni'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mni", "./nowhere", "hf:"])
def test_a_name_that_can_be_no_model_is_refused_at_once(table5, root, name, capsys):
    assert table5("--models", f"mini,{name}", "--data", root) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "words"),
    [("http://head:8265", "is the dashboard's: name Ray's own port"), ("127.0.0.1:9", "no Ray cluster")],
)
def test_an_address_at_which_no_ray_is_leaves_no_run(table5, root, tmp_path, monkeypatch, capsys, address, words):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert table5("--models", "mini", "--data", root, "--storage", "runs") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    assert client.search_runs([client.get_experiment_by_name("tclap").experiment_id]) == []


def test_a_registered_model_is_scored_as_the_checkpoint_that_it_is(table5, root, mini, tmp_path, capsys):
    checkpoint.save(tmp_path / "trained" / "artifacts" / "checkpoint", mini, {})
    storage = tmp_path / "runs"
    storage.mkdir()
    client, experiment = tracking.connect(tracking.tracking_uri(storage), storage)
    client.create_registered_model(champion.MODEL)
    run = client.create_run(experiment)
    client.create_model_version(champion.MODEL, (tmp_path / "trained").as_uri(), run.info.run_id)
    champion.promote(client, "1")
    flags = ["--data", root, "--folds", "4", "--eval-takes", "1", "--base-steps", "3", "--storage", "runs"]
    assert table5("--models", f"{champion.ADDRESS},trained/artifacts/checkpoint", *flags) == 0
    lines = pd.read_csv("runs/table5/table5.csv")
    scores = {model: rows.drop(columns="model").to_csv(index=False) for model, rows in lines.groupby("model")}
    assert scores.pop(champion.ADDRESS) == scores.popitem()[1]
    assert [file.name for file in Path("runs/table5").iterdir() if file.is_dir()] == []
    for address, words in (
        ("models:/tclap@nobody", "cannot be had from MLflow"),
        (f"{champion.ADDRESS}=w", f"--weights w: {champion.ADDRESS} is a checkpoint"),
    ):
        capsys.readouterr()
        assert table5("--models", f"mini,{address}", *flags, "--name", "refused") == 2
        assert words in capsys.readouterr().err
