"""A run written beside its training: in order, once, flushed, and its failures raised."""

import threading
from pathlib import Path

import pytest
from mlflow.entities import Metric

from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS
from tclap.sweep.sweep import Sweep
from tclap.tracking import beside, runs
from tclap.tracking.beside import RunBeside, leave_traceback, open_run
from tclap.tracking.page import NOTE_TAG
from tclap.tracking.provenance import log_origin
from tests.tracking.conftest import configuration

CONFIGURATION = configuration(3)


def scores(value):
    return {name: Score(value, value - 1, value + 1, 9, 50.0) for name in COLUMNS}


@pytest.fixture
def sweep(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client, experiment = runs.connect(uri, tmp_path)
    parent = runs.sweep_run(client, experiment, "s", {}, tmp_path, "digest")
    return Sweep(
        name="s",
        folder=str(tmp_path / "s"),
        data=str(tmp_path),
        dataset_digest="digest",
        cache=str(tmp_path),
        origin=None,
        workers=1,
        gpus_per_worker=0.0,
        chunk=None,
        retrieval={},
        allow_missing=False,
        tracking_uri=uri,
        experiment_id=experiment,
        parent_run_id=parent,
    )


def child(sweep):
    client = runs.connect(sweep.tracking_uri, Path(sweep.folder))[0]
    (run,) = runs.find_runs(client, sweep.experiment_id, {"kind": runs.KIND_TRIAL})
    return client, run


def steps(sweep):
    client, run = child(sweep)
    return [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss")]


def test_steps_that_a_killed_process_logged_are_not_logged_again(sweep):
    for logged in (range(3), range(2, 5)):  # killed after step 2; its last state was after step 1
        with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as run:
            for step in logged:
                run.log(step, {"loss": float(step)})
            run.flush()
    assert steps(sweep) == list(range(5))


def test_scores_are_logged_once_for_each_step_and_the_last_ones_are_the_runs(sweep, tmp_path):
    saved = tmp_path / "saved"
    saved.mkdir()
    for last in (None, 6, 6):  # killed in the middle, then before its result was written, then done
        with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as run:
            for step in (2, 4):
                run.score(step, {"zste/1": 10.0 * step, "order/moved": 1.0})
            if last is None:
                run.flush()
            else:
                run.finish(scores(60.0), saved, {"best_step/zste/1": 6.0}, last)
    client, run = child(sweep)
    history = client.get_metric_history(run.info.run_id, "zste/1")
    assert [(metric.step, metric.value) for metric in history] == [(2, 20.0), (4, 40.0), (6, 60.0)]
    assert run.data.metrics["zste/1"] == 60.0
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "best_step/zste/1")] == [6]
    assert run.data.tags["done"] == "true"


def checkpoints(sweep):
    """Name and scores of each checkpoint that MLflow lists as a model of the run."""
    client, run = child(sweep)
    models = client.search_logged_models([sweep.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return [(model.name, {m.key: m.value for m in model.metrics or ()}.get("zste/1")) for model in models]


def stop_at_2(sweep, folder):
    """What a seed leaves in MLflow that is stopped early after two steps."""
    folder.mkdir(exist_ok=True)
    with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as run:
        run.finish(scores(60.0), folder, {}, 2, stopped="it was left behind")


EARLY = {"done", runs.STOPPED_AT, runs.STOPPED_WHY}


def test_what_is_stopped_again_at_the_same_step_keeps_its_model_with_its_scores(sweep, tmp_path):
    """Killed before its result was written; only a step that it takes says that it goes on."""
    for _ in range(2):
        stop_at_2(sweep, tmp_path / "saved")
        assert checkpoints(sweep) == [("checkpoint-step-2", 60.0)]
    assert child(sweep)[1].data.tags.keys() >= EARLY
    with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as run:
        run.log(2, {"loss": 1.0})
        run.flush()
        assert checkpoints(sweep) == []
        assert not EARLY & child(sweep)[1].data.tags.keys()
        run.finish(scores(70.0), tmp_path / "saved", {}, 3)
    assert checkpoints(sweep) == [("checkpoint-step-3", 70.0)]
    assert EARLY & child(sweep)[1].data.tags.keys() == {"done"}


@pytest.mark.parametrize("deleted", [["done"], ["done", runs.STOPPED_WHY]])
def test_a_stop_is_taken_back_though_a_kill_came_in_the_middle_of_it(sweep, tmp_path, deleted):
    stop_at_2(sweep, tmp_path / "saved")
    client, run = child(sweep)
    for key in deleted:
        client.delete_tag(run.info.run_id, key)
    runs.go_on(client, run.info.run_id)
    assert not EARLY & child(sweep)[1].data.tags.keys()


def test_a_stop_is_taken_back_though_mlflow_is_asked_twice(sweep, tmp_path, monkeypatch):
    """A server that is killed after it has deleted something is asked again by its client, and has it no more."""
    stop_at_2(sweep, tmp_path / "saved")
    client, run = child(sweep)
    for name in ("delete_tag", "delete_logged_model"):
        delete = getattr(client, name)

        def ask_twice(*arguments, delete=delete):
            delete(*arguments)
            delete(*arguments)

        monkeypatch.setattr(client, name, ask_twice)
    runs.go_on(client, run.info.run_id)
    assert not EARLY & child(sweep)[1].data.tags.keys()
    assert checkpoints(sweep) == []


def test_training_does_not_wait_for_mlflow_until_too_much_waits(sweep, monkeypatch):
    monkeypatch.setattr(beside, "WRITE_EVERY_S", 0.0)
    go_on = threading.Event()
    with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as run:
        run.flush()
        write = run._client.log_batch
        written = []

        def slow(run_id: str, metrics: list[Metric]) -> None:
            go_on.wait(60)  # whoever waits for it goes on all the same, and is seen
            write(run_id, metrics=metrics)
            written.append(metrics)

        monkeypatch.setattr(run._client, "log_batch", slow)
        for step in range(beside.WAITING_AT_MOST):
            run.log(step, {"loss": 0.0})
        assert written == []  # nobody has let MLflow answer yet
        threading.Timer(0.2, go_on.set).start()
        run.log(beside.WAITING_AT_MOST, {"loss": 0.0})
        assert go_on.is_set()
        run.flush()
    assert steps(sweep) == list(range(beside.WAITING_AT_MOST + 1))


def test_what_a_write_raised_comes_out_of_the_next_call(sweep, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("the disk is full")

    run = RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True).__enter__()
    run.flush()
    monkeypatch.setattr(run._client, "log_batch", refuse)
    run.log(0, {"loss": 0.0})
    with pytest.raises(OSError, match="the disk is full"):
        run.flush()
    run.__exit__(None, None, None)


def test_the_losses_before_an_error_are_kept(sweep):
    run = RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True).__enter__()
    run.log(0, {"loss": 1.0})
    error = FloatingPointError("loss is nan")
    run.__exit__(FloatingPointError, error, None)
    assert steps(sweep) == [0]


def test_a_stop_ends_the_run_as_killed(sweep):
    with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as run:
        run.log(0, {"loss": 1.0})
        run.killed()
    assert child(sweep)[1].info.status == "KILLED"
    assert steps(sweep) == [0]


def test_off_the_first_worker_it_does_nothing(sweep):
    with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=False) as run:
        run.log(0, {"loss": 1.0})
        run.flush()
        run.killed()
    client = runs.connect(sweep.tracking_uri, Path(sweep.folder))[0]
    assert runs.find_runs(client, sweep.experiment_id, {"kind": runs.KIND_TRIAL}) == []


def test_a_traceback_is_left_on_its_seeds_run_though_no_worker_had_made_it(sweep, tmp_path):
    leave_traceback(sweep, CONFIGURATION, 1, "Traceback ...\nValueError: wrong")
    client, run = child(sweep)
    assert (run.info.status, run.data.tags["seed"]) == ("FAILED", "1")
    trace = client.download_artifacts(run.info.run_id, "traceback.txt", str(tmp_path))
    assert Path(trace).read_text() == "Traceback ...\nValueError: wrong"
    assert run.data.tags[NOTE_TAG].endswith("Failed, see traceback.txt:\n\n```\nValueError: wrong\n```\n")


def finish(sweep, tmp_path, stopped=""):
    saved = tmp_path / "saved"
    saved.mkdir(exist_ok=True)
    with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as run:
        run.log(0, {"loss": 1.0})
        run.finish(scores(60.0), saved, {}, 6, stopped=stopped)
    return child(sweep)[1]


def test_a_run_says_what_it_is_and_at_its_end_how_it_scored(sweep, tmp_path):
    with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as run:
        run.flush()
        line = child(sweep)[1].data.tags[NOTE_TAG]
        run.killed()
    steps_ = CONFIGURATION.optimiser.steps
    assert line.startswith("A run of the sweep **s**: stage B (which order) from the base, model mini,")
    assert f"{steps_} steps of batch {CONFIGURATION.batch_size}, seed 0, trained on folds 1, 2" in line
    note = finish(sweep, tmp_path).data.tags[NOTE_TAG]
    sentence, first, table = note.split("\n\n", 2)
    assert sentence == line
    assert first == "zste/temporal 60.0, zste/1 60.0"
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines() if row]
    assert rows[0] == ["score", "percent", "95% interval", "chance", "items"]
    assert rows[2:] == [[name, "60.0", "59.0 to 61.0", "50.0", "9"] for name in COLUMNS]


def test_the_note_of_a_stopped_run_says_why_until_it_goes_on(sweep, tmp_path):
    why = "zste/1>=70 fails by its whole interval"
    stopped = finish(sweep, tmp_path, stopped=why)
    assert f"\n\nStopped early: {why}.\n\nzste/temporal 60.0" in stopped.data.tags[NOTE_TAG]
    with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as run:
        run.flush()
        assert "Stopped early" not in child(sweep)[1].data.tags[NOTE_TAG]
        run.killed()


def test_a_run_says_the_dataset_source_and_user_of_its_sweep(sweep):
    client = runs.connect(sweep.tracking_uri, Path(sweep.folder))[0]
    log_origin(client, sweep.parent_run_id, "/data/esc50", "ab" * 32, "sweeps/table4.py")
    parent = client.get_run(sweep.parent_run_id)
    with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as run:
        run.killed()
    _, run = child(sweep)
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.source) == ("esc50", "/data/esc50")
    for tag in ("mlflow.source.name", "mlflow.user"):
        assert run.data.tags[tag] == parent.data.tags[tag]


def test_a_run_of_a_moment_has_system_metrics_once_and_a_longer_one_as_often_as_they_are_due(
    sweep, tmp_path, monkeypatch
):
    name = "system/cpu_utilization_percentage"
    client, run = runs.connect(sweep.tracking_uri, Path(sweep.folder))[0], finish(sweep, tmp_path)
    assert len(client.get_metric_history(run.info.run_id, name)) == 1
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.001")
    with RunBeside(lambda: open_run(sweep, CONFIGURATION, 0), active=True) as going_on:
        for step in range(1, 4):
            going_on.log(step, {"loss": 1.0})
            going_on.flush()
        going_on.killed()
    assert len(client.get_metric_history(run.info.run_id, name)) > 3
