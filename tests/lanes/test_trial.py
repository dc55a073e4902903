"""A trial that fails: what is a bug and what is tried again, and what it leaves behind; a stand-in for Ray Train."""

import json
import os
from pathlib import Path

import pytest
import ray.train
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError as NoConnection

from tclap.lanes import trial
from tclap.lanes.trial import CodeError, forget_if_broken
from tclap.lanes.worker import Sweep, is_rays
from tclap.places import at
from tclap.tracking import runs as tracking
from tests.integration.services import free_ports
from tests.tracking.conftest import configuration

CONFIGURATION = configuration(3)


@pytest.fixture
def sweep(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client, experiment = tracking.connect(uri, tmp_path)
    parent = tracking.sweep_run(client, experiment, "s", {}, tmp_path, "digest")
    return Sweep(
        name="s",
        folder=str(tmp_path / "s"),
        data=str(tmp_path),
        dataset_digest="digest",
        cache=str(tmp_path),
        origin=None,
        seeds=(0, 1),
        workers=2,
        gpus_per_worker=0.0,
        chunk=None,
        retrieval={},
        allow_missing=False,
        tracking_uri=uri,
        experiment_id=experiment,
        parent_run_id=parent,
    )


@pytest.fixture
def ends_with(monkeypatch, sweep):
    """Run the trial's worker group, whose workers end with these errors by rank."""

    class Trainer:
        def __init__(self, *args, **kwargs):
            pass

        def fit(self):
            raise ray.train.WorkerGroupError("some workers failed", self.errors)

    monkeypatch.setattr(trial, "TorchTrainer", Trainer)

    def call(errors):
        Trainer.errors = errors
        return trial._fit(CONFIGURATION, sweep)

    return call


def children(sweep):
    client = tracking.connect(sweep.tracking_uri, at(sweep.folder))[0]
    return client, tracking.find_runs(client, sweep.experiment_id, {"kind": tracking.KIND_TRIAL})


@pytest.mark.parametrize("rank", [0, 1])
def test_a_bug_on_any_worker_is_left_on_its_seeds_run(ends_with, sweep, rank, tmp_path):
    """Even where no worker had come so far as to make the run; its peer fails because it is gone."""
    bug = CodeError("ValueError: wrong", "Traceback ...\nValueError: wrong", 1)
    peer = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer")
    assert ends_with({rank: bug, 1 - rank: peer}) == "ValueError: wrong"
    client, (run,) = children(sweep)
    assert (run.info.status, run.data.tags["seed"]) == ("FAILED", "1")
    trace = client.download_artifacts(run.info.run_id, "traceback.txt", str(tmp_path))
    assert Path(trace).read_text() == bug.trace


def test_an_mlflow_that_refuses_the_traceback_does_not_have_the_trial_tried_again(ends_with, sweep):
    client, _ = children(sweep)
    client.delete_experiment(sweep.experiment_id)
    assert ends_with({0: CodeError("MlflowException: not active", "Traceback", 0)}) == "MlflowException: not active"


def test_what_ray_raises_in_a_workers_code_is_a_loss():
    assert is_rays(ray.exceptions.ActorDiedError())
    assert not is_rays(ValueError())


@pytest.mark.parametrize(
    "errors",
    [
        {0: RuntimeError("gloo: connection closed")},
        {0: MlflowException("API request to http://mlflow failed with exception")},
        {0: CodeError("KeyError: 'x'", "Traceback", 0), 1: ray.exceptions.ActorDiedError()},
    ],
    ids=["peer", "mlflow", "a death, and what it did to another"],
)
def test_what_was_lost_is_raised_to_be_tried_again_and_no_run_fails(ends_with, sweep, errors):
    with pytest.raises(ray.train.WorkerGroupError):
        ends_with(errors)
    assert children(sweep)[1] == []


def test_mlflow_away_is_not_an_error_of_its_own(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    client = MlflowClient(f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(MlflowException) as given_up:
        client.search_experiments()
    assert tracking.is_away(given_up.value)
    assert not tracking.is_away(MlflowException("RESOURCE_DOES_NOT_EXIST"))
    assert not tracking.is_away(NoConnection("of something else"))


@pytest.mark.parametrize("url", [False, True])
def test_a_half_written_list_of_checkpoints_is_forgotten(tmp_path, bucket, url):
    for text, kept in (
        ('{"checkpoint_results": [', False),
        (json.dumps({"checkpoint_results": [{"checkpoint_dir_name": "gone"}]}), False),
        (json.dumps({"checkpoint_results": [{"checkpoint_dir_name": "there"}]}), True),
        (json.dumps({"of": "another version"}), True),
    ):
        run = at(f"{bucket}/run") if url else at(str(tmp_path / "run"))
        (run / "there").mkdir(parents=True, exist_ok=True)
        (run / "there" / "state.pt").write_text("")
        (run / trial.CHECKPOINT_MANAGER_SNAPSHOT_FILENAME).write_text(text)
        forget_if_broken(run)
        assert (run / "there" / "state.pt").exists() == kept, text
    forget_if_broken(at(str(tmp_path / "never-started")))


def test_losses_that_a_killed_process_logged_are_not_logged_again(sweep):
    client = tracking.connect(sweep.tracking_uri, at(sweep.folder))[0]
    run_id = tracking.child_run(client, sweep.experiment_id, "s", sweep.parent_run_id, configuration(3), 0, None)
    for steps in (range(3), range(2, 5)):  # killed after step 2; its last checkpoint was after step 1
        log = tracking.LossLog(client, run_id)
        for step in steps:
            log(step, {"loss": float(step)})
        log.flush()
    assert [m.step for m in client.get_metric_history(run_id, "train/loss")] == list(range(5))


def test_files_on_shared_storage_can_be_read_by_others(tmp_path):
    from tclap.places import write_atomically

    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "a" / "table.csv", "1")
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "table.csv").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["table.csv"]
