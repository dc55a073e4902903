"""`sweeps/table4.py` end to end: the table, MLflow, sharing, repetition, failure, several workers."""

import shutil
from collections import Counter

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS
from tclap.places import at
from tclap.report.tables import write_tables
from tclap.tracking.read import read_sweep
from tests.integration.conftest import OF_TABLE4, TINY, rows_program, run_here, run_rows

COLUMNS_OF_CSV = [
    *("stage", "alpha_st", "alpha_ct", "alpha_so", "alpha_co", "beta", "batch_size", "seed"),
    *("1", "2A", "2B", "2C", "2D", "3A", "3B", "4A", "4B", "5A", "5B", "3A_order"),
]
FILES = {
    *(f"table4.{kind}" for kind in ("csv", "md", "html", "png", "tex")),
    "table4_order.csv",
    "report.html",
    "order.png",
    "rows.json",
}
ALL_ONES = [("B", {})]


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
    assert artifacts == FILES


def test_every_run_says_its_dataset_source_user_and_machine_and_what_it_is(runs, root):
    found = runs[1]
    assert {r.data.tags["kind"] for r in found} == {"sweep", "trial", "stage_a"}
    assert len({r.data.tags["mlflow.user"] for r in found}) == 1
    for run_ in found:
        ((dataset, digest),) = ((d.dataset.source, d.dataset.digest) for d in run_.inputs.dataset_inputs)
        assert dataset == str(root)
        assert digest
        assert run_.data.tags["mlflow.source.name"] == "sweeps/table4.py"
        assert run_.data.metrics["system/system_memory_usage_megabytes"] > 0
        note = run_.data.tags["mlflow.note.content"]
        if run_.data.tags["kind"] == "sweep":
            assert note.startswith("**table4**: done")
            assert "zste/order" in note
        else:
            assert note.startswith("A run of the sweep **table4**: stage ")
            assert "3A_order" in note


def test_mlflow_alone_gives_the_same_table(finished, runs, tmp_path):
    client, found = runs
    sweep = read_sweep(client, found[0].info.experiment_id, "table4")
    for rebuilt in write_tables(sweep.frame(), tmp_path / sweep.table, "", sweep.about(client), sweep.links()):
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


def test_same_command_again_runs_nothing(finished, root, runs, cluster):
    """As a job it was run, from this machine it is run again."""
    before = (finished[0] / "table4" / "table4.csv").read_bytes()
    flags = ("--data", root, "--storage", finished[0], "--seeds", "0,1", *TINY)
    process = run_here("sweeps/table4.py", *flags, env=cluster.env)
    assert process.returncode == 0, process.stderr
    assert "nothing left to do" in process.stdout
    assert "min left" not in process.stdout
    assert (finished[0] / "table4" / "table4.csv").read_bytes() == before
    client, found = runs
    assert len(client.search_runs([found[0].info.experiment_id], OF_TABLE4, max_results=1000)) == len(found)


def test_fresh_storage_at_a_url_gives_the_same_numbers_to_the_last_digit(finished, root, bucket, tmp_path):
    """One of the rows again, from nothing, in a Ray of its own: its lines of the table are the same bytes.

    It is also scored in the middle of its stages, which changes none of them.
    """
    rows = [("AB", {})]
    flags = ("--data", root, "--storage", f"{bucket}/fresh", "--cache", tmp_path / "node", "--seeds", "0,1")
    flags += ("--name", "again", "--evaluate-every", "2", *TINY)
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    process = run_rows(rows, *flags, env=tracking)
    assert process.returncode == 0, process.stdout + process.stderr
    sweep = at(f"{bucket}/fresh/again")
    again = (sweep / "table4.csv").read_text().splitlines()
    first = (finished[0] / "table4" / "table4.csv").read_text().splitlines()
    assert len(again) == 1 + 2
    assert set(again) <= set(first)
    there = {path.name for path in sweep.iterdir()} - {sweep.name}  # Ray marks folders with an empty object
    assert there == {
        *FILES,
        "sweep.json",
        "live.json",
        "trials",
        "ray",
    }
    client = MlflowClient(tracking["MLFLOW_TRACKING_URI"])
    found = client.search_runs([client.get_experiment_by_name("tclap").experiment_id], "tags.kind = 'trial'")
    assert len(found) == 2
    for run_ in found:
        history = client.get_metric_history(run_.info.run_id, "zste/3A")
        assert [metric.step for metric in history] == [2, 4]
        assert history[-1].value == run_.data.metrics["zste/3A"]
        assert {"best/zste/order", "best_step/zste/order"} <= run_.data.metrics.keys()
    assert "id=curves>" in (sweep / "report.html").read_text()
    seeds = list(sweep.glob("trials/*/seed-*"))
    assert len(seeds) == 4  # with stage A's
    for seed in seeds:
        assert (seed / "result.json").exists()
        assert {path.name for path in (seed / "checkpoint").iterdir()} == {"config.json", "model.safetensors"}
    # A base, audio and text of mini's base, of training and of evaluation: each one object.
    cached = [path.parent.name for path in at(f"{bucket}/fresh").glob("*/*.tar")]
    assert Counter(cached) == {"base": 1, "features": 6}
    repeated = run_here(rows_program(rows), *flags, env=tracking)
    assert repeated.returncode == 0, repeated.stderr
    assert "nothing left to do" in repeated.stdout


def test_a_stopped_job_is_not_run_again_and_goes_on_without_the_flag_as_if_never_stopped(finished, root, cluster):
    """Stopped by a guard that always fails; in the end its lines of the table are those of the first sweep."""
    flags = ("--data", root, "--storage", finished[0], "--name", "early", "--seeds", "0,1", *TINY)
    stopping = (*flags, "--stop-early", "--guard", "zste/1>=101")
    first = run_rows([("AB", {})], *stopping, env=cluster.env)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "stopped at step 1 " in first.stdout
    assert "none can win" in first.stdout
    sweep = finished[0] / "early"
    (state,) = sweep.glob("trials/*/seed-*/state.pt")  # the second seed did not run
    written = state.with_name("result.json").stat().st_mtime_ns
    again = run_here(rows_program([("AB", {})]), *stopping, env=cluster.env)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing left to do" in again.stdout
    assert state.with_name("result.json").stat().st_mtime_ns == written
    assert pd.read_csv(sweep / "table4.csv")["stopped_at"].tolist() == [1]
    going_on = run_rows([("AB", {})], *flags, env=cluster.env)
    assert going_on.returncode == 0, going_on.stdout + going_on.stderr
    lines = (sweep / "table4.csv").read_text().splitlines()
    assert len(lines) == 1 + 2
    assert set(lines) <= set((finished[0] / "table4" / "table4.csv").read_text().splitlines())
    assert not list(sweep.glob("trials/*/seed-*/state.pt"))


@pytest.fixture(scope="module")
def captioned_folder(root, tmp_path_factory):
    """Six clips with captions in Clotho's layout."""
    folder = tmp_path_factory.mktemp("captioned")
    clips = sorted((root / "audio").glob("*.wav"))[:6]
    lines = ["file_name,caption_1,caption_2"]
    for clip in clips:
        shutil.copy(clip, folder / clip.name)
        lines.append(f"{clip.name},a sound called {clip.stem},ticks and hum")
    (folder / "captions.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def second(finished, root, captioned_folder, cluster):
    """Another name, two workers, and two rows, the first of which diverges; (finished process, features before)."""
    storage = finished[0]
    rows = [("B", {"beta": 1e39}), ("B", {})]
    retrieval = f"small={captioned_folder},{captioned_folder / 'captions.csv'}"
    written = {path: path.stat().st_mtime_ns for path in (storage / "cache").rglob("*.npy")}
    flags = ("--data", root, "--storage", storage, "--name", "pair", "--retrieval", retrieval, "--workers", "2", *TINY)
    return run_rows(rows, *flags, env=cluster.env), written


def test_second_sweep_reads_features_and_two_workers_train_as_one(finished, second, cluster):
    """No feature set is written again, and the model is the same."""
    storage = finished[0]
    written = second[1]
    assert len(written) >= 4
    assert {path: path.stat().st_mtime_ns for path in (storage / "cache").rglob("*.npy")} == written
    (pair,) = (storage / "pair" / "trials").glob("*/seed-0/checkpoint/model.safetensors")
    alone = storage / "table4" / pair.relative_to(storage / "pair")
    one, two = load_file(alone), load_file(pair)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4)
    (run_,) = _trials_of_pair(cluster, "FINISHED")
    wanted = {f"retrieval/small/{way}_{cut}" for way in ("t2a", "a2t") for cut in ("r1", "r5", "r10", "map10")}
    assert wanted <= run_.data.metrics.keys()


def test_failed_trial_is_told_and_leaves_its_traceback(second, cluster):
    process = second[0]
    assert process.returncode == 1, process.stdout + process.stderr
    assert "FloatingPointError: loss is" in process.stdout
    assert "lost" not in process.stdout  # it is no lost worker, and not tried again
    (failed,) = _trials_of_pair(cluster, "FAILED")
    client = MlflowClient(cluster.tracking)
    assert [a.path for a in client.list_artifacts(failed.info.run_id)] == ["traceback.txt"]


def _trials_of_pair(cluster, status):
    client = MlflowClient(cluster.tracking)
    experiment = client.get_experiment_by_name("tclap")
    query = f"tags.sweep = 'pair' and tags.kind = 'trial' and attributes.status = '{status}'"
    return client.search_runs([experiment.experiment_id], query)


def test_corrupt_clip_is_one_line_before_any_training(root, tmp_path, cluster):
    data = shutil.copytree(root, tmp_path / "data")
    broken = sorted((data / "audio").iterdir())[3]
    broken.write_bytes(b"RIFF")
    flags = ("--data", data, "--storage", tmp_path / "runs", "--name", "corrupt", *TINY)
    process = run_here(rows_program(ALL_ONES), *flags, env=cluster.env)
    assert process.returncode == 2
    assert f"{broken.name}: unreadable" in process.stderr.strip().splitlines()[-1]
    assert "Traceback" not in process.stderr
    assert not list((tmp_path / "runs").rglob("result.json"))


def test_trial_that_fits_nowhere_is_refused(root, tmp_path, cluster):
    process = run_rows(
        ALL_ONES, "--data", root, "--storage", tmp_path, "--workers", "999", "--name", "nowhere", *TINY, env=cluster.env
    )
    assert process.returncode == 2
    assert "a trial needs 999 CPUs" in process.stderr
