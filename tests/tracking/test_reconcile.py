"""After a kill: what MLflow says against what is done."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tclap.axes import label, varying
from tclap.config import OptimiserSettings, StageASettings, config_hash
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS
from tclap.places import checkpoint_folder, seed_folder
from tclap.sweep.ledger import Result, read_ledger, read_result, write_result
from tclap.tracking import runs as tracking
from tclap.tracking.read import read_sweep
from tclap.tracking.reconcile import reconcile, rename
from tclap.tracking.relog import AGAIN
from tclap.training import checkpoint
from tests.tracking.conftest import configuration

CONFIGURATION = configuration(3)


@pytest.fixture(params=[1000, 0], ids=["each run is looked at", "only the unfinished"], autouse=True)
def most_looked_at(request, monkeypatch):
    monkeypatch.setattr("tclap.tracking.reconcile.MOST_LOOKED_AT", request.param)


@pytest.fixture
def sweep(tmp_path):
    client, experiment = tracking.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    parent = tracking.sweep_run(client, experiment, "s", {}, tmp_path, "digest")

    def child(seed):
        return tracking.child_run(client, experiment, "s", parent, CONFIGURATION, seed, None)

    def statuses():
        reconcile(client, experiment, "s", read_ledger(tmp_path / "s"), parent)
        runs = tracking.find_runs(client, experiment, {"sweep": "s", "kind": tracking.KIND_TRIAL})
        return {run.info.run_id: run.info.status for run in runs}

    def done(seed, run_id):
        result = Result(config_hash(CONFIGURATION), seed, {}, 1.0, 3, "here", run_id)
        write_result(seed_folder(tmp_path / "s", CONFIGURATION, seed), result)

    return client, child, statuses, done


def test_what_the_dead_left_running_is_killed_and_goes_on_as_the_same_run(sweep):
    client, child, statuses, _ = sweep
    run_id = child(0)
    assert statuses() == {run_id: "KILLED"}
    assert child(0) == run_id
    assert client.get_run(run_id).info.status == "RUNNING"


def test_what_is_done_is_finished_whatever_an_earlier_look_said(sweep):
    _, child, statuses, done = sweep
    run_id = child(0)
    statuses()
    done(0, run_id)
    assert statuses() == {run_id: "FINISHED"}


def test_a_failed_run_stays_failed(sweep):
    client, child, statuses, _ = sweep
    run_id = child(0)
    client.set_terminated(run_id, "FAILED")
    assert statuses() == {run_id: "FAILED"}


def test_of_two_runs_for_a_seed_the_one_of_the_result_stays(sweep):
    """As when MLflow answered a request after its client had asked again."""
    client, child, statuses, done = sweep
    first, other = child(0), child(1)
    run = client.get_run(first)
    second = client.create_run(run.info.experiment_id, tags=run.data.tags).info.run_id
    done(0, second)
    assert statuses() == {second: "FINISHED", other: "KILLED"}
    assert client.get_run(first).info.lifecycle_stage == "deleted"


def test_without_a_result_the_older_of_two_runs_stays(sweep):
    client, child, statuses, _ = sweep
    first = child(0)
    run = client.get_run(first)
    client.create_run(run.info.experiment_id, tags=run.data.tags, start_time=run.info.start_time + 1000)
    assert statuses() == {first: "KILLED"}


# What is done, whatever becomes of MLflow.
PAIRED = CONFIGURATION.model_copy(
    update={
        "stages": "AB",
        "stage_a": StageASettings(),
        "optimiser_a": OptimiserSettings(steps=2),
    }
)
EVERYTHING = (PAIRED, PAIRED.parent, CONFIGURATION)
SEEDS = (0, 1)


@pytest.fixture
def finished(tmp_path, mini):
    """A sweep of three configurations and two seeds that is done, as its workers leave it: (client, experiment)."""
    client, experiment = tracking.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    parent = tracking.sweep_run(client, experiment, "s", {}, tmp_path, "digest")
    for number, config in enumerate(EVERYTHING):
        for seed in SEEDS:
            run_id = tracking.child_run(client, experiment, "s", parent, config, seed, None)
            place = checkpoint_folder(tmp_path / "s", config, seed)
            checkpoint.save(place, mini, {"configuration": config.model_dump(mode="json"), "seed": seed})
            scores = {name: Score(50.0 + number, 40.0, 60.0, 9, 50.0) for name in (*COLUMNS, *EXTRA_COLUMNS)}
            result = Result(config_hash(config), seed, scores, 1.5, 3, "there", run_id)
            tracking.finish(client, run_id, scores, place, {"train_s": 1.5}, 3)
            write_result(place.parent, result)
    return client, experiment, parent


def test_a_second_run_of_a_finished_seed_goes(finished, tmp_path):
    client, experiment, _ = finished
    kept = client.get_run(read_result(seed_folder(tmp_path / "s", PAIRED, 1)).run_id)
    second = client.create_run(experiment, tags={k: v for k, v in kept.data.tags.items() if k != "done"}).info.run_id
    assert again(tmp_path, client, experiment) == []
    assert client.get_run(second).info.lifecycle_stage == "deleted"
    check_whole(client, experiment, tmp_path, 0)


def again(tmp_path: Path, client: MlflowClient, experiment: str) -> list[str]:
    parent = tracking.sweep_run(client, experiment, "s", {}, tmp_path, "digest")
    return reconcile(client, experiment, "s", read_ledger(tmp_path / "s"), parent)


def frame(client: MlflowClient, experiment: str):
    return read_sweep(client, experiment, "s").frame().sort_values(["config_hash", "seed"]).reset_index(drop=True)


def delete_children(client: MlflowClient, experiment: str, parent: str, tmp_path: Path) -> int:
    for config in EVERYTHING:
        client.delete_run(read_result(seed_folder(tmp_path / "s", config, 0)).run_id)
    return len(EVERYTHING)


def delete_parent(client: MlflowClient, experiment: str, parent: str, tmp_path: Path) -> int:
    client.delete_run(parent)
    return 0


def delete_everything(client: MlflowClient, experiment: str, parent: str, tmp_path: Path) -> int:
    for run in tracking.find_runs(client, experiment, {"sweep": "s"}):
        client.delete_run(run.info.run_id)
    return len(EVERYTHING) * len(SEEDS)


def forget_that_it_is_done(client: MlflowClient, experiment: str, parent: str, tmp_path: Path) -> int:
    client.delete_tag(read_result(seed_folder(tmp_path / "s", PAIRED, 1)).run_id, "done")
    return 1


@pytest.mark.parametrize("lose", [delete_children, delete_parent, delete_everything, forget_that_it_is_done])
def test_what_mlflow_lost_is_logged_again(finished, tmp_path, lose, monkeypatch):
    if lose is forget_that_it_is_done:  # a tag that someone removed by hand is seen only if each run is looked at
        monkeypatch.setattr("tclap.tracking.reconcile.MOST_LOOKED_AT", 1000)
    client, experiment, parent = finished
    before = frame(client, experiment)
    lost = lose(client, experiment, parent, tmp_path)
    lines = again(tmp_path, client, experiment)
    assert [line.split(" ")[0] for line in lines] == ([str(lost)] if lost else [])
    assert frame(client, experiment).equals(before)
    check_whole(client, experiment, tmp_path, lost)
    assert again(tmp_path, client, experiment) == []


def test_an_empty_store_gets_everything_that_is_done(finished, tmp_path):
    before = frame(*finished[:2])
    client, experiment = tracking.connect(f"sqlite:///{tmp_path / 'other.db'}", tmp_path)
    assert again(tmp_path, client, experiment)[0].startswith("6 finished run(s)")
    assert frame(client, experiment).equals(before)
    check_whole(client, experiment, tmp_path, 6)


def check_whole(client: MlflowClient, experiment: str, tmp_path: Path, again: int) -> None:
    """One parent, one finished child for each result, with its checkpoint, its stage-A run, and the result's run id."""
    runs = tracking.find_runs(client, experiment, {"sweep": "s"})
    (parent,) = (run for run in runs if run.data.tags["kind"] == "sweep")
    children = {run.info.run_id: run for run in runs if run is not parent}
    assert len(children) == len(EVERYTHING) * len(SEEDS)
    assert sum(AGAIN in run.data.tags for run in children.values()) == again
    for config in EVERYTHING:
        for seed in SEEDS:
            run = children[read_result(seed_folder(tmp_path / "s", config, seed)).run_id]
            tags = run.data.tags
            assert (run.info.status, tags["mlflow.parentRunId"]) == ("FINISHED", parent.info.run_id)
            assert (tags["config_hash"], tags["seed"], tags["done"]) == (config_hash(config), str(seed), "true")
            assert run.data.metrics["train_s"] == 1.5
            files = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "checkpoint")}
            assert files == {"config.json", "model.safetensors"}
            if AGAIN in tags and config.stages == "AB":
                stage_a = read_result(seed_folder(tmp_path / "s", config.parent, seed))
                assert tags["stage_a_run"] == stage_a.run_id
                assert tags["host"] == "there"


def test_what_an_older_version_left_is_logged_again_too(finished, tmp_path):
    """Its checkpoints do not name the settings that came later."""
    client, experiment, _ = finished
    old = CONFIGURATION.model_copy(update={"data": CONFIGURATION.data.model_copy(update={"timing": "midpoint"})})
    record = old.model_dump(mode="json")
    for name in ("timing", "train_draw_seed", "prompts"):
        del record["data"][name]
    place = checkpoint_folder(tmp_path / "s", old, 0)
    shutil.copytree(checkpoint_folder(tmp_path / "s", CONFIGURATION, 0), place)
    made = json.loads((place / "config.json").read_text())
    made["provenance"] = {"configuration": record, "seed": 0}
    (place / "config.json").write_text(json.dumps(made))
    scores = {name: Score(50.0, 40.0, 60.0, 9, 50.0) for name in (*COLUMNS, *EXTRA_COLUMNS)}
    write_result(place.parent, Result(config_hash(old), 0, scores, 1.5, 3, "there"))
    (line,) = again(tmp_path, client, experiment)
    assert line.startswith("1 finished run(s)")
    run = client.get_run(read_result(place.parent).run_id)
    assert (run.info.status, run.data.params["data.timing"]) == ("FINISHED", "midpoint")


@pytest.mark.parametrize("damage", ["gone", "of something else", "says nothing"])
def test_a_result_that_cannot_be_logged_again_is_named_and_the_others_are(finished, tmp_path, damage):
    client, experiment, parent = finished
    place = checkpoint_folder(tmp_path / "s", CONFIGURATION, 1)
    if damage == "gone":
        shutil.rmtree(place)
    else:
        text = (place / "config.json").read_text()
        (place / "config.json").write_text(
            text.replace('"steps": 3', '"steps": 4')
            if damage == "of something else"
            else text.replace("provenance", "p")
        )
    delete_everything(client, experiment, parent, tmp_path)
    one, five = again(tmp_path, client, experiment)
    assert str(place.parent) in one
    assert "delete it to rerun" in one
    assert five.startswith("5 finished run(s)")


def test_runs_are_named_by_what_varies_since_the_sweep_grew(tmp_path):
    client, experiment = tracking.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    parent = tracking.sweep_run(client, experiment, "s", {}, tmp_path, "digest")
    stage = CONFIGURATION.optimiser_b
    other = CONFIGURATION.model_copy(update={"optimiser_b": stage.model_copy(update={"weight_decay": 0.1})})
    first = [tracking.child_run(client, experiment, "s", parent, CONFIGURATION, seed, None) for seed in (0, 1)]
    client.set_tag(first[1], "mlflow.runName", "my favourite")
    grown = varying([CONFIGURATION, other])
    rename(client, experiment, "s", parent, [])
    second = tracking.child_run(client, experiment, "s", parent, other, 0, None, grown)
    before = client.get_run(first[0])
    rename(client, experiment, "s", parent, grown)
    names = [client.get_run(run_id).data.tags["mlflow.runName"] for run_id in (*first, second)]
    plain = label(CONFIGURATION)
    assert names == [
        f"{plain}  weight_decay 0.01  seed 0",
        "my favourite",
        f"{plain}  weight_decay 0.1  seed 0",
    ]
    after = client.get_run(first[0])
    assert (after.info.end_time, after.data.params, after.data.metrics) == (
        before.info.end_time,
        before.data.params,
        before.data.metrics,
    )
