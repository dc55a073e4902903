"""Wrong input: one clear line and exit code 2, before anything expensive."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest
from pydantic_settings import CliApp

from tclap import cli
from tclap.console import run_or_exit
from tclap.flags import TrainingFlags
from tclap.search_flags import SearchSettings
from tclap.tracking import runs
from tclap.training import checkpoint
from tests.helpers import write_csv

TABLE4 = Path(__file__).parents[1] / "sweeps" / "table4.py"


@pytest.fixture
def table4(monkeypatch):
    """Run sweeps/table4.py with these flags in this process; Ray must never be reached."""
    import ray

    def refuse(*args, **kwargs):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", refuse)
    spec = importlib.util.spec_from_file_location("table4", TABLE4)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["table4.py", *map(str, flags)])
        run_or_exit(module.main)

    return run


@pytest.fixture
def tclap(monkeypatch):
    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["tclap", *map(str, flags)])
        cli.main()

    return run


def error_line(capsys, stopped):
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch-sizes", "0"], "--batch-sizes 0: Input should be greater than or equal to 1"),
        (["--batch-sizes", "many"], "--batch-sizes 'many'"),
        (["--batch-sizes", "16"], "over the bound of 15: 6 classes"),
        (["--model", "mimi"], "--model 'mimi'"),
        (["--train-folds", "1,4"], "fold 4 is in both train_folds and eval_folds"),
        (["--test-folds", "9"], "test_folds names fold 9"),
        (["--train-folds", "1", "--test-folds", "[]", "--batch-sizes", "16"], "over the bound of 15: 6 classes"),
        (["--seeds", "0,0"], "--seeds needs one value or more, each named once"),
        (["--batch-sizes", "4,4"], "--batch-sizes needs one value or more, each named once"),
        (["--use-gpu", "--workers", "2", "--gpus-per-worker", "0.5"], "NCCL refuses two workers on one GPU"),
        (["--gpus-per-worker", "0.5"], "--gpus-per-worker 0.5 without --use-gpu would train on CPUs: add --use-gpu"),
        (["--name", "a/b"], "--name 'a/b'"),
        (["--lr", "nan"], "--lr"),
    ],
)
def test_table4_refuses(table4, capsys, root, tmp_path, flags, message):
    with pytest.raises(SystemExit) as stopped:
        table4("--data", root, "--storage", tmp_path, "--batch-sizes", "4", *flags)
    assert message in error_line(capsys, stopped)


def test_table4_refuses_unwritable_storage(table4, capsys, root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stopped:
        table4("--data", root, "--storage", tmp_path / "file" / "runs", "--batch-sizes", "4")
    line = error_line(capsys, stopped)
    assert "storage folder" in line
    assert str(tmp_path / "file") in line


def test_table4_refuses_a_name_that_stands_for_another_sweep(table4, capsys, root, tmp_path, monkeypatch):
    flags = ["--data", root, "--storage", tmp_path, "--batch-sizes", "4"]
    with pytest.raises(AssertionError, match="Ray was started"):
        table4(*flags)
    with pytest.raises(SystemExit) as stopped:
        table4(*flags, "--lr", "0.01", "--seeds", "0,1")  # more seeds alone would be an extension
    capsys_line = error_line(capsys, stopped)
    assert "lr was 0.001, now 0.01" in capsys_line
    assert "seeds was" not in capsys_line


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_a_ray_cluster_that_does_not_listen_is_one_line_and_no_run(
    table4, capsys, root, tmp_path, monkeypatch, address
):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(SystemExit) as stopped:
        table4("--data", root, "--storage", tmp_path, "--batch-sizes", "4")
    assert f"no Ray cluster at RAY_ADDRESS={address}" in error_line(capsys, stopped)
    assert not (tmp_path / "mlflow.db").exists()


def test_an_mlflow_that_does_not_answer_is_one_line(table4, capsys, root, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SystemExit) as stopped:
        table4("--data", root, "--storage", tmp_path, "--batch-sizes", "4")
    assert "MLflow at http://127.0.0.1:9: API request" in error_line(capsys, stopped)


def test_table4_refuses_a_folder_that_is_no_dataset(table4, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        table4("--data", tmp_path, "--storage", tmp_path / "runs")
    assert f"{tmp_path} is in no layout that is known: meta/esc50.csv" in error_line(capsys, stopped)


def test_paper_preset_plans_24_configurations_and_starts_nothing(table4, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        table4("--preset", "paper", "--dry-run")
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "24 configurations and 3 stage-A runs" in out
    assert out.count("starts from") == 12
    assert not list(tmp_path.iterdir())


def test_released_preset_prints_its_settings_and_starts_nothing(table4, capsys, root, tmp_path):
    flags = ("--data", root, "--storage", tmp_path, "--model", "mini", "--batch-sizes", "8", "--dry-run")
    with pytest.raises(SystemExit) as stopped:
        table4("--preset", "released", *flags)
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "row o alpha, timing midpoint, prompts ['this is a sound of {}']" in out
    assert "4A_hard and 4B_hard" in out
    # 6 classes: 15 pairs and 2 takes of each are 30 samples, 4 steps of 8.
    assert "stage A: 20 epochs of 4 steps at batch 8, Adam 0.001, times 0.95 after each epoch, no warm-up" in out
    assert "stage B: 10 epochs of 4 steps" in out
    assert "8 configurations and 1 stage-A run" in out
    assert out.count("(80 steps, shared by 4 AB configurations)") == 1
    assert out.count("(40 steps") == 8


def test_released_preset_needs_its_dataset_and_sets_its_own_training(table4, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        table4("--preset", "released", "--dry-run")
    assert "an epoch is as long as --data has classes; data/esc50" in error_line(capsys, stopped)
    with pytest.raises(SystemExit) as stopped:
        table4("--preset", "released", "--lr", "0.1", "--row-o", "printed", "--dry-run")
    assert "leave out --lr, --row-o" in error_line(capsys, stopped)


def test_dry_run_still_refuses_a_batch_over_the_bound(table4, capsys, root):
    with pytest.raises(SystemExit) as stopped:
        table4("--data", root, "--batch-sizes", "16", "--dry-run")
    assert "over the bound of 15" in error_line(capsys, stopped)


def test_flags_beat_the_preset(table4, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        table4("--preset", "paper", "--batch-sizes", "64", "--dry-run")
    assert "8 configurations and 1 stage-A run, seeds 0" in capsys.readouterr().out


def test_alpha_other_than_0_and_1_needs_any_alpha(tclap, capsys):
    with pytest.raises(SystemExit) as stopped:
        tclap("train", "--alpha-st", "0.5")
    line = error_line(capsys, stopped)
    assert "--alpha-st 0.5 must be 0 or 1" in line
    assert "--any-alpha" in line


def test_train_and_score_without_ray(tclap, capsys, root, tmp_path):
    small = ["--takes", "2", "--eval-takes", "1", "--steps-a", "3", "--steps-b", "3", "--base-steps", "5"]
    with pytest.raises(SystemExit) as stopped:
        tclap("train", "--data", root, "--storage", tmp_path, "--batch-size", "4", "--evaluate-every", "2", *small)
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    client, experiment_id = runs.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    stage_a, stage_b = runs.find_runs(client, experiment_id, {"kind": "train"})
    assert stage_a.info.status == stage_b.info.status == "FINISHED"
    assert stage_b.data.tags["stage_a_run"] == stage_a.info.run_id
    assert stage_b.data.params["coefficients.alpha_st"] == "1.0"
    assert [given.dataset.name for given in stage_b.inputs.dataset_inputs] == [root.name]
    assert {"mlflow.user", "mlflow.source.name"} <= stage_b.data.tags.keys()
    assert stage_b.data.tags["mlflow.note.content"].startswith("A run of **tclap train**: stage B (which order) after")
    assert "system/cpu_utilization_percentage" in stage_b.data.metrics
    assert {"train_s", "best/zste/order", "best_step/zste/order"} <= stage_b.data.metrics.keys()
    assert client.get_experiment(experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"
    assert f"/runs/{stage_b.info.run_id}?" in out
    assert [m.step for m in client.get_metric_history(stage_b.info.run_id, "train/loss")] == [0, 1, 2]
    assert sorted(m.step for m in client.get_metric_history(stage_b.info.run_id, "zste/order")) == [2, 3]
    assert {"checkpoint", "scores.json"} <= {file.path for file in client.list_artifacts(stage_b.info.run_id)}
    place = Path(out.strip().splitlines()[-1].removeprefix("checkpoint: "))
    assert checkpoint.load(place).name == "mini"
    score = ["zste", "--model", place, "--data", root, "--storage", tmp_path, "--eval-takes", "1"]
    with pytest.raises(SystemExit) as stopped:
        tclap(*score, "--folds", "5", "--json", tmp_path / "scores.json")
    assert stopped.value.code == 0
    assert '"3A_order"' in (tmp_path / "scores.json").read_text()
    with pytest.raises(SystemExit) as stopped:
        tclap(*score, "--folds", "1")
    assert "was trained on fold 1 of this dataset" in capsys.readouterr().err
    assert stopped.value.code == 2


def test_train_without_mlflow_or_with_one_that_cannot_be(tclap, capsys, root, tmp_path, monkeypatch):
    small = ["--takes", "2", "--eval-takes", "1", "--steps-a", "3", "--steps-b", "3", "--base-steps", "5"]
    common = ["train", "--data", root, "--storage", tmp_path, "--stages", "B", "--batch-size", "4", *small]
    with pytest.raises(SystemExit) as stopped:
        tclap(*common, "--no-track")
    assert stopped.value.code == 0
    assert not (tmp_path / "mlflow.db").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:mlflow.db")
    with pytest.raises(SystemExit) as stopped:
        tclap(*common)
    assert "SQLite's address has three slashes" in error_line(capsys, stopped)


def test_a_training_that_fails_leaves_its_traceback_on_its_run(tclap, root, tmp_path, monkeypatch):
    def break_off(*args, **kwargs):
        raise FloatingPointError("loss is nan at step 0 of stage B; try a lower lr")

    monkeypatch.setattr("tclap.commands.training.train", break_off)
    with pytest.raises((SystemExit, FloatingPointError)):
        tclap("train", "--data", root, "--storage", tmp_path, "--stages", "B", "--batch-size", "4", "--takes", "2")
    client, experiment_id = runs.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    (run,) = runs.find_runs(client, experiment_id, {"kind": "train"})
    assert run.info.status == "FAILED"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["traceback.txt"]


def test_a_training_run_names_the_csv_that_was_given_and_not_its_folder(tclap, dataset, tmp_path, monkeypatch):
    def break_off(*args, **kwargs):
        raise FloatingPointError("that is enough")

    csv = write_csv(dataset, tmp_path / "mine.csv")
    monkeypatch.setattr("tclap.commands.training.train", break_off)
    with pytest.raises((SystemExit, FloatingPointError)):
        tclap("train", "--data", csv, "--storage", tmp_path, "--stages", "B", "--batch-size", "4", "--base-steps", "3")
    client, experiment_id = runs.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    (run,) = runs.find_runs(client, experiment_id, {"kind": "train"})
    assert [data.dataset.source for data in run.inputs.dataset_inputs] == [str(csv)]


def test_zste_names_the_models_it_knows(tclap, capsys, root):
    with pytest.raises(SystemExit) as stopped:
        tclap("zste", "--model", "clapp", "--data", root)
    line = error_line(capsys, stopped)
    assert "unknown model 'clapp'" in line
    assert "mini" in line


def test_data_check_lists_every_problem(tclap, capsys, tmp_path):
    with pytest.raises(SystemExit):
        tclap("data", "synth", tmp_path / "d", "--classes", "3", "--clips", "5")
    clips = sorted((tmp_path / "d" / "audio").iterdir())
    clips[0].unlink()
    clips[1].write_bytes(clips[1].read_bytes()[:20])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        tclap("data", "check", tmp_path / "d")
    out = capsys.readouterr().out
    assert stopped.value.code == 1
    assert f"{clips[0].name}: missing" in out
    assert f"{clips[1].name}: unreadable" in out
    assert "2 problem(s)" in out


@pytest.fixture
def one_class(tclap, capsys, tmp_path):
    with pytest.raises(SystemExit):
        tclap("data", "synth", tmp_path / "one", "--classes", "2", "--clips", "5")
    csv = tmp_path / "one" / "meta" / "esc50.csv"
    lines = csv.read_text().splitlines(keepends=True)
    csv.write_text("".join(line for line in lines if line.startswith("filename") or line.split(",")[2] == "0"))
    capsys.readouterr()
    return tmp_path / "one"


def test_one_class_makes_no_pairs(tclap, capsys, one_class, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        tclap("data", "check", one_class)
    assert stopped.value.code == 1
    assert "has one class; pairs need at least two" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        tclap("data", "preview", one_class, tmp_path / "out")
    assert "has one class" in error_line(capsys, stopped)


def test_a_text_may_be_longer_than_a_file_name(tclap, capsys, dataset, mini, tmp_path):
    checkpoint.save(tmp_path / "checkpoint", mini, {})
    with pytest.raises(SystemExit) as stopped:
        tclap("score", tmp_path / "checkpoint", dataset.path(0), "dog before cat " * 300)
    assert stopped.value.code == 0


@pytest.mark.parametrize("fold", [1, 4, 5])
def test_a_broken_clip_of_any_fold_is_named_before_anything_runs(table4, tclap, capsys, root, tmp_path, fold):
    """And where it is mended, the name is still free, though the dataset's digest is another."""
    data = shutil.copytree(root, tmp_path / "data")
    broken = next(path for path in sorted((data / "audio").iterdir()) if path.name.startswith(f"{fold}-"))
    sound = broken.read_bytes()
    broken.write_bytes(b"RIFF")
    flags = ("--data", data, "--storage", tmp_path / "runs")
    for command in (lambda: table4(*flags, "--batch-sizes", "4"), lambda: tclap("train", *flags, "--batch-size", "4")):
        with pytest.raises(SystemExit) as stopped:
            command()
        assert f"1 unusable file(s): {broken.name}: unreadable" in error_line(capsys, stopped)
    assert not list((tmp_path / "runs").rglob("*.safetensors"))
    broken.write_bytes(sound)
    with pytest.raises(AssertionError, match="Ray was started"):
        table4(*flags, "--batch-sizes", "4")


def test_relative_paths_hold_in_every_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert SearchSettings(cache="c", _cli_parse_args=False).cache == tmp_path / "c"
    assert SearchSettings(_cli_parse_args=False).cache == Path("~/.cache/tclap")  # each node's own
    assert TrainingFlags(model="laion", weights="w/clap").model_settings().weights == str(tmp_path / "w" / "clap")
    assert TrainingFlags(model="laion", weights="random").weights == "random"


def test_preview_writes_every_kind(tclap, root, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        tclap("data", "preview", root, tmp_path / "out", "--count", "2")
    assert stopped.value.code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert len(names) == 2 * 4 + 2
    assert {"00-single.wav", "01-overlay.wav", "captions.csv", "items.csv"} <= names


def test_retrieval_counts_missing_clips_and_stands_beside_the_published(tclap, capsys, dataset, mini, tmp_path):
    clips = [dataset.path(clip) for clip in range(3)]
    lines = [
        "file_name,caption_1,caption_2",
        *(f"{clip.name},ticks,a hum" for clip in clips),
        "absent.wav,a bell,bells",
    ]
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    checkpoint.save(tmp_path / "checkpoint", mini, {})
    command = ["retrieval", "--model", tmp_path / "checkpoint", "--audio", clips[0].parent]
    command += ["--captions", tmp_path / "captions.csv"]
    with pytest.raises(SystemExit) as stopped:
        tclap(*command)
    line = error_line(capsys, stopped)
    assert "1 of 4 clips are missing" in line
    assert "absent" in line
    with pytest.raises(SystemExit) as stopped:
        tclap(*command, "--allow-missing", "--json", tmp_path / "scores.json")
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "3 clips, 6 captions, 1 clips missing or unusable" in out
    assert "34.6 / 16.7" in " ".join(out.split())  # CLAP's published T->A R@1
    assert '"t2a_r1"' in (tmp_path / "scores.json").read_text()


def test_every_command_of_the_docstring_exists(tclap, capsys):
    for command in ("data", "models", "pretrain", "train", "zste", "retrieval", "best", "report", "score", "export"):
        with pytest.raises(SystemExit) as stopped:
            tclap(command, "--help")
        assert stopped.value.code == 0
        assert f"tclap {command}" in capsys.readouterr().out


def test_match_steps_gives_b_alone_the_steps_of_a_as_well(table4, capsys, tmp_path):
    with pytest.raises(SystemExit):
        table4("--match-steps", "--steps-a", "30", "--steps-b", "70", "--dry-run", "--storage", tmp_path)
    steps = re.findall(r"  [0-9a-f]{12}  (A|B|AB) .*\((\d+) steps", capsys.readouterr().out)
    assert sorted(set(steps)) == [("A", "30"), ("AB", "70"), ("B", "100")]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--objectives", "zste/9"], "--objectives 'zste/9': an objective is one of zste/order"),
        (["--sampler", "luck"], "--sampler 'luck'"),
        (["--trials", "0"], "--trials"),
        (["--lrs", "0"], "--lrs 0: Input should be greater than 0"),
        (["--stages", "B,B"], "--stages needs one value or more, each named once"),
    ],
)
def test_wrong_flags_of_a_search(flags, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["search.py", *flags])
    with pytest.raises(SystemExit) as stopped:
        run_or_exit(lambda: CliApp.run(SearchSettings))
    assert message in error_line(capsys, stopped)
