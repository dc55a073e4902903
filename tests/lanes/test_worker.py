"""What a worker does with a job, in this process: a real dataset, model and MLflow store, and nobody at the mailbox."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tclap.config import Configuration, OptimiserSettings, StageASettings
from tclap.data import dataset as datasets
from tclap.data import layouts
from tclap.lanes import worker
from tclap.lanes.failures import Lost
from tclap.lanes.worker import Desk
from tclap.places import seed_folder
from tclap.sweep.job import DONE, Job
from tclap.sweep.ledger import Result, drop_result, read_details, read_ledger
from tclap.sweep.rungs import Rungs
from tclap.sweep.state import write_state
from tclap.sweep.sweep import Sweep
from tclap.tracking import runs
from tclap.tracking.history import read_history
from tclap.tracking.read import read_sweep
from tests.tracking.conftest import configuration

CONFIGURATION = configuration(12)


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep that has begun."""
    storage = tmp_path_factory.mktemp("worker")
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    client, experiment = runs.connect(uri, storage)
    digest = datasets.digest(layouts.read_index(root))
    return Sweep(
        name="s",
        folder=str(storage / "s"),
        data=str(root),
        dataset_digest=digest,
        cache=str(storage / "cache"),
        origin=None,
        workers=1,
        gpus_per_worker=0.0,
        chunk=None,
        retrieval={},
        allow_missing=False,
        tracking_uri=uri,
        experiment_id=experiment,
        parent_run_id=runs.sweep_run(client, experiment, "s", {}, root, digest),
    )


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "get_device", lambda: torch.device("cpu"))


def desk(sweep: Sweep) -> Desk:
    unread = SimpleNamespace(remote=lambda *arguments: None)
    return Desk(sweep, SimpleNamespace(say_progress=unread, note=unread), "lane")


def renamed(sweep: Sweep, name: str, **changes: object) -> Sweep:
    """The same under a name of its own, so that nothing of it is done."""
    client = runs.connect(sweep.tracking_uri, Path(sweep.folder))[0]
    parent = runs.sweep_run(client, sweep.experiment_id, name, {}, Path(str(sweep.data)), sweep.dataset_digest)
    own = {"name": name, "folder": str(Path(sweep.folder).with_name(name)), "parent_run_id": parent}
    return Sweep(**{**sweep.__dict__, **own, **changes})  # type: ignore[arg-type]


def test_a_job_with_a_curve_has_the_results_of_one_without_and_its_points_are_logged_once(made: Sweep) -> None:
    job = Job(CONFIGURATION, (0,))
    plain, curved = renamed(made, "plain"), renamed(made, "curved", evaluate_every=2)
    for sweep in (plain, curved):
        assert desk(sweep).do(job)["outcome"] == DONE
    (without,) = read_ledger(Path(plain.folder)).results.values()
    (with_curve,) = read_ledger(Path(curved.folder)).results.values()
    assert with_curve.scores == without.scores
    assert list(with_curve.curve) == [2, 4, 6, 8, 10, 12]
    client = runs.connect(made.tracking_uri, Path(made.folder))[0]
    assert with_curve.run_id is not None
    history = read_history(client, with_curve.run_id, ["zste/1", "order/moved"])
    assert history == [(s, {n: v[n] for n in ("zste/1", "order/moved")}) for s, v in with_curve.curve.items()]
    assert len(client.get_metric_history(with_curve.run_id, "zste/1")) == 6
    metrics = client.get_run(with_curve.run_id).data.metrics
    assert metrics["zste/1"] == with_curve.scores["1"].value
    assert metrics["best/zste/1"] == max(point["zste/1"] for point in with_curve.curve.values())


def test_what_lies_behind_a_result_is_beside_it_and_on_its_run(made: Sweep, root: Path) -> None:
    sweep = renamed(made, "details")
    assert desk(sweep).do(Job(CONFIGURATION, (0,)))["outcome"] == DONE
    (result,) = read_ledger(Path(sweep.folder)).results.values()
    details = read_details(seed_folder(Path(sweep.folder), CONFIGURATION, 0))
    assert details is not None
    assert details.classes == layouts.read_index(root).class_names
    moved = result.scores["order/moved"].value
    assert abs(details.pairs().mean(axis=None) - moved) < 5  # pairs are asked equally often, to within one
    client = runs.connect(made.tracking_uri, Path(made.folder))[0]
    assert result.run_id is not None
    files = {file.path for file in client.list_artifacts(result.run_id)}
    assert {"checkpoint", "details.json", "order_by_pair.csv", "scores.json"} <= files
    (model,) = client.search_logged_models([made.experiment_id], f"source_run_id = '{result.run_id}'")
    assert model.name == "checkpoint-step-12"
    assert {m.key: (m.value, m.step) for m in model.metrics}["order/moved"] == (moved, 12)


NEVER = "zste/1>=101"  # a guard that always fails
OBJECTIVES = ("zste/order", "zste/1")


def run_of(sweep: Sweep, result: Result):
    """The MLflow run of a result, and where zste/1 was logged."""
    client = runs.connect(sweep.tracking_uri, Path(sweep.folder))[0]
    assert result.run_id is not None
    steps = [metric.step for metric in client.get_metric_history(result.run_id, "zste/1")]
    return client.get_run(result.run_id), steps


def test_a_stopped_job_is_done_and_goes_on_without_the_flag_as_if_never_stopped(made: Sweep) -> None:
    job = Job(CONFIGURATION, (0, 1))
    whole = renamed(made, "whole")
    desk(whole).do(job)
    stopping = renamed(made, "stopping", stop_early=True, objectives=OBJECTIVES, guards=(NEVER,))
    report = desk(stopping).do(job)
    assert (report["outcome"], report["stopped_at"]) == (DONE, 2)
    ledger = read_ledger(Path(stopping.folder))
    (stopped,) = ledger.results.values()  # the second seed does not run
    assert (stopped.seed, stopped.stopped_at, stopped.steps, list(stopped.curve)) == (0, 2, 2, [2])
    assert ledger.is_done(CONFIGURATION, (0, 1))
    run, logged = run_of(stopping, stopped)
    assert logged == [2]
    assert run.data.tags["stopped_at"] == "2"
    assert run.data.tags["stopped_why"] == "zste/1>=101 fails by its whole interval"
    # Killed before its result was written: it is looked at again, takes no step, and nothing is logged twice.
    place = seed_folder(Path(stopping.folder), CONFIGURATION, 0)
    drop_result(place)
    desk(stopping).do(job)
    (again,) = read_ledger(Path(stopping.folder)).results.values()
    assert (again.scores, again.stopped_at, again.steps) == (stopped.scores, 2, 0)
    assert run_of(stopping, again)[1] == [2]
    # The same command again runs nothing.
    written = (place / "result.json").stat().st_mtime_ns
    assert desk(stopping).do(job)["stopped_at"] == 2
    assert (place / "result.json").stat().st_mtime_ns == written
    # Without the flag it is not done, goes on from its state, and ends where a job ends that was never stopped.
    going_on = renamed(made, "stopping")
    assert read_ledger(Path(going_on.folder), stops_early=False).seeds_left(CONFIGURATION, (0, 1)) == [0, 1]
    assert "stopped_at" not in desk(going_on).do(job)
    ended = read_ledger(Path(going_on.folder)).results
    for key, result in read_ledger(Path(whole.folder)).results.items():
        assert (ended[key].scores, ended[key].stopped_at) == (result.scores, None)
        one, other = (
            load_file(seed_folder(Path(s.folder), CONFIGURATION, key[1]) / "checkpoint" / "model.safetensors")
            for s in (whole, going_on)
        )
        assert all(torch.equal(one[name], other[name]) for name in one)
    first = ended[stopped.config_hash, 0]
    assert first.steps == 10
    run, logged = run_of(going_on, first)
    assert logged == [2, 12]
    assert (run.data.tags["done"], run.info.status) == ("true", "FINISHED")
    assert not {"stopped_at", "stopped_why"} & run.data.tags.keys()
    client = runs.connect(made.tracking_uri, Path(made.folder))[0]
    (model,) = client.search_logged_models([made.experiment_id], f"source_run_id = '{first.run_id}'")
    assert model.name == "checkpoint-step-12"
    assert not (place / "state.pt").exists()


def test_a_trial_that_others_have_left_behind_stops_at_the_rung_and_tables_say_so(made: Sweep) -> None:
    sweep = renamed(made, "rung", stop_early=True, objectives=OBJECTIVES)
    assert desk(sweep).do(Job(configuration(12, alpha_st=0.0), (0,))).get("stopped_at") is None  # it is the first
    Rungs(Path(sweep.folder)).record(0, "another", dict.fromkeys(OBJECTIVES, 101.0), True)
    assert desk(sweep).do(Job(CONFIGURATION, (0,)))["stopped_at"] == 2
    client = runs.connect(made.tracking_uri, Path(made.folder))[0]
    frame = read_sweep(client, made.experiment_id, "rung").frame()
    assert sorted(frame["stopped_at"].fillna(0)) == [0, 2]


def test_a_worker_believes_the_first_one_where_storage_shows_it_less(
    made: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that sees neither the results of stage A nor its own has no job that failed, and nothing to report."""
    sweep = renamed(made, "older")
    monkeypatch.setattr(worker.distributed, "rank", lambda: 1)
    monkeypatch.setattr(worker.distributed, "from_first", lambda value: [])
    of_a = {"stage_a": StageASettings(), "optimiser_a": OptimiserSettings(steps=3)}
    both = Configuration(**{**dict(CONFIGURATION), "stages": "AB", **of_a})
    assert desk(sweep).do(Job(both, (0,))) == {"outcome": DONE}


def test_workers_go_on_from_the_same_step(made: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    place = seed_folder(Path(renamed(made, "same-step").folder), CONFIGURATION, 0)
    monkeypatch.setattr(worker.distributed, "from_first", lambda value: [100])
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        write_state(place, {"step": 50 * len(slept), "model": {}, "optimiser": {}})

    monkeypatch.setattr(worker.time, "sleep", sleep)
    resumed = desk(made)._resumed(place)
    assert resumed is not None
    assert resumed["step"] == 100
    assert len(slept) == 2  # it saw none, then an older one
    monkeypatch.setattr(worker, "STALE_S", -1.0)
    monkeypatch.setattr(worker.distributed, "from_first", lambda value: [-1])
    with pytest.raises(Lost, match="the state of step 100, the first one step -1"):
        desk(made)._resumed(place)
