"""After a kill: what MLflow says against what is done."""

import pytest

from tclap.config import config_hash
from tclap.places import seed_folder
from tclap.sweep.ledger import Result, read_ledger, write_result
from tclap.tracking import runs as tracking
from tclap.tracking.reconcile import reconcile
from tests.tracking.conftest import configuration

CONFIGURATION = configuration(3)


@pytest.fixture
def sweep(tmp_path):
    client, experiment = tracking.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    parent = tracking.sweep_run(client, experiment, "s", {}, tmp_path, "digest")

    def child(seed):
        return tracking.child_run(client, experiment, "s", parent, CONFIGURATION, seed, None)

    def statuses():
        reconcile(client, experiment, "s", read_ledger(tmp_path / "s"))
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
