"""`sweeps/table4.py` end to end: the table, MLflow, sharing, repetition, failure, several workers."""

import shutil

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS
from tclap.orchestrate.records import read_sweep
from tclap.report.tables import write_tables
from tests.integration.conftest import TINY, run, run_rows

COLUMNS_OF_CSV = [
    *("stage", "alpha_st", "alpha_ct", "alpha_so", "alpha_co", "beta", "batch_size", "seed"),
    *("1", "2A", "2B", "2C", "2D", "3A", "3B", "4A", "4B", "5A", "5B", "3A_order"),
]
ALL_ONES = [("B", {})]


def sweep(data, storage, *flags):
    return run("sweeps/table4.py", "--data", data, "--storage", storage, "--seeds", "0,1", *TINY, *flags)


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """Table IV at toy size, run once; (storage folder, finished process)."""
    storage = tmp_path_factory.mktemp("storage")
    process = sweep(root, storage)
    assert process.returncode == 0, process.stdout + process.stderr
    return storage, process


@pytest.fixture(scope="module")
def runs(finished):
    """Every MLflow run of the finished sweep."""
    client = MlflowClient(f"sqlite:///{finished[0] / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tclap")
    return client, client.search_runs([experiment.experiment_id], max_results=1000)


def test_table_has_a_line_for_each_configuration_and_seed(finished):
    table = pd.read_csv(finished[0] / "table4" / "table4.csv")
    assert list(table.columns) == COLUMNS_OF_CSV
    assert table.groupby("stage")["seed"].value_counts().to_dict() == {(s, n): 4 for s in ("B", "AB") for n in (0, 1)}
    assert table[list(COLUMNS)].notna().all(axis=None)
    shown = (finished[0] / "table4" / "table4.md").read_text()
    assert shown.count("*paper*") == 8 + 1  # under each row, and in the note
    assert "±" in shown
    assert "52.12" in shown  # the paper's 3A of AB 1 0 1 0


def test_every_configuration_and_seed_has_one_finished_run_with_all_metrics(finished, runs):
    client, found = runs
    parents = [r for r in found if r.data.tags["kind"] == "sweep"]
    trials = [r for r in found if r.data.tags["kind"] == "trial"]
    assert len(parents) == 1
    assert len({(r.data.tags["config_hash"], r.data.tags["seed"]) for r in trials}) == len(trials) == 16
    for run_ in trials:
        assert run_.info.status == "FINISHED"
        assert run_.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
        wanted = {f"zste/{c}" for c in (*COLUMNS, *EXTRA_COLUMNS, "mean", "temporal")}
        assert wanted | {f"zste_low/{c}" for c in COLUMNS} <= run_.data.metrics.keys()
        assert len(client.get_metric_history(run_.info.run_id, "train/loss")) == 4
        assert {"git_commit", "host", "version.torch"} <= run_.data.tags.keys()
        assert run_.data.params["data.takes"] == "8"
        names = {a.path for a in client.list_artifacts(run_.info.run_id, "checkpoint")}
        assert names == {"checkpoint/model.safetensors", "checkpoint/config.json"}
    artifacts = {a.path for a in client.list_artifacts(parents[0].info.run_id)}
    assert artifacts == {"table4.csv", "table4.md", "table4.html", "table4.png", "rows.json"}


def test_mlflow_alone_gives_the_same_table(finished, runs, tmp_path):
    client, found = runs
    sweep = read_sweep(client, found[0].info.experiment_id, "table4")
    for rebuilt in write_tables(sweep.frame(), tmp_path / sweep.table):
        assert rebuilt.read_bytes() == (finished[0] / "table4" / rebuilt.name).read_bytes(), rebuilt.name


def test_stage_a_is_trained_once_for_each_seed_and_shared(runs):
    client, found = runs
    stage_a = [r for r in found if r.data.tags["kind"] == "stage_a"]
    assert sorted(r.data.tags["seed"] for r in stage_a) == ["0", "1"]
    for run_ in stage_a:
        assert len(client.get_metric_history(run_.info.run_id, "train/loss")) == 4
    used = {r.data.tags.get("stage_a_run") for r in found if r.data.params.get("stages") == "AB"}
    assert used == {r.info.run_id for r in stage_a}


def test_metrics_agree_with_the_table(finished, runs):
    table = pd.read_csv(finished[0] / "table4" / "table4.csv", float_precision="round_trip")
    logged = sorted(r.data.metrics["zste/3A"] for r in runs[1] if r.data.tags["kind"] == "trial")
    assert logged == sorted(table["3A"])


def test_same_command_again_runs_nothing(finished, root, runs):
    before = (finished[0] / "table4" / "table4.csv").read_bytes()
    process = sweep(root, finished[0])
    assert process.returncode == 0, process.stderr
    assert "nothing left to do" in process.stdout
    assert "min left" not in process.stdout
    assert (finished[0] / "table4" / "table4.csv").read_bytes() == before
    client, found = runs
    assert len(client.search_runs([found[0].info.experiment_id], max_results=1000)) == len(found)


def test_fresh_storage_gives_the_same_numbers_to_the_last_digit(finished, root, tmp_path):
    """Two of the rows again, from nothing: their lines of the table are the same bytes."""
    process = run_rows(
        [("B", {}), ("AB", {})], "--data", root, "--storage", tmp_path, "--seeds", "0,1", "--name", "again", *TINY
    )
    assert process.returncode == 0, process.stdout + process.stderr
    again = (tmp_path / "again" / "table4.csv").read_text().splitlines()
    first = (finished[0] / "table4" / "table4.csv").read_text().splitlines()
    assert len(again) == 1 + 4
    assert set(again) <= set(first)


@pytest.fixture
def captioned_folder(root, tmp_path):
    """Six clips with captions in Clotho's layout."""
    clips = sorted((root / "audio").glob("*.wav"))[:6]
    lines = ["file_name,caption_1,caption_2"]
    for clip in clips:
        shutil.copy(clip, tmp_path / clip.name)
        lines.append(f"{clip.name},a sound called {clip.stem},ticks and hum")
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    return tmp_path


def test_second_sweep_reads_features_and_two_workers_train_as_one(finished, root, captioned_folder):
    """A sweep under another name, with two workers: no feature set is written again, and the model is the same."""
    storage = finished[0]
    retrieval = f"small={captioned_folder},{captioned_folder / 'captions.csv'}"
    written = {path: path.stat().st_mtime_ns for path in (storage / "cache").rglob("*.npy")}
    assert len(written) >= 4
    process = run_rows(
        ALL_ONES,
        "--data",
        root,
        "--storage",
        storage,
        "--name",
        "pair",
        "--retrieval",
        retrieval,
        "--workers",
        "2",
        *TINY,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert {path: path.stat().st_mtime_ns for path in (storage / "cache").rglob("*.npy")} == written
    (pair,) = (storage / "pair" / "trials").glob("*/seed-0/checkpoint/model.safetensors")
    alone = storage / "table4" / pair.relative_to(storage / "pair")
    one, two = load_file(alone), load_file(pair)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4)
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tclap")
    (run_,) = client.search_runs([experiment.experiment_id], "tags.sweep = 'pair' and tags.kind = 'trial'")
    wanted = {f"retrieval/small/{way}_{cut}" for way in ("t2a", "a2t") for cut in ("r1", "r5", "r10", "map10")}
    assert wanted <= run_.data.metrics.keys()


def test_failed_trial_is_told_and_leaves_its_traceback(root, tmp_path):
    process = run_rows(ALL_ONES, "--data", root, "--storage", tmp_path, "--lr", "1e30", *TINY)
    assert process.returncode == 1
    assert "FloatingPointError: loss is" in process.stdout
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tclap")
    (failed,) = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    assert failed.info.status == "FAILED"
    assert [a.path for a in client.list_artifacts(failed.info.run_id)] == ["traceback.txt"]


def test_corrupt_clip_is_one_line_before_any_training(root, tmp_path):
    data = shutil.copytree(root, tmp_path / "data")
    broken = sorted((data / "audio").iterdir())[3]
    broken.write_bytes(b"RIFF")
    process = run_rows(ALL_ONES, "--data", data, "--storage", tmp_path / "runs", *TINY)
    assert process.returncode == 2
    assert f"{broken.name}: unreadable" in process.stderr.strip().splitlines()[-1]
    assert "Traceback" not in process.stderr
    assert not list((tmp_path / "runs").rglob("result.json"))


def test_trial_that_fits_nowhere_is_refused(root, tmp_path):
    process = run_rows(ALL_ONES, "--data", root, "--storage", tmp_path, "--workers", "999", *TINY)
    assert process.returncode == 2
    assert "a trial needs 999 CPUs" in process.stderr
