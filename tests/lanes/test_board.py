"""What people see of a sweep, written from real results in a real MLflow store, without Ray."""

import errno
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from tclap.config import Configuration, LossCoefficients
from tclap.errors import InputError
from tclap.flags import SweepSettings
from tclap.lanes import driver, worker
from tclap.lanes.board import AWAY_S, PAGE_EVERY_S, Board
from tclap.lanes.start import Start, Store, claimed, open_store, sweep_of
from tclap.sweep.job import Job
from tclap.sweep.stopping import Guard
from tclap.tracking.page import NOTE_TAG
from tclap.tracking.read import read_sweep
from tests.lanes.test_worker import desk

OBJECTIVES = ("zste/order", "zste/1")


@pytest.fixture
def settings(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepSettings:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(worker, "get_device", lambda: torch.device("cpu"))
    small = {"takes": 1, "eval_takes": 1, "base_steps": 5, "steps_b": 4}
    return SweepSettings(data=root, storage=tmp_path, name="seen", **small)


@pytest.fixture
def configurations(settings: SweepSettings) -> list[Configuration]:
    return [settings.configuration("B", LossCoefficients(alpha_st=st), 6) for st in (0, 1)]


@pytest.fixture
def start(settings: SweepSettings, configurations: list[Configuration]) -> Iterator[Start]:
    with claimed(settings, configurations) as found:
        yield found


def test_the_parent_and_the_report_show_the_best(
    start: Start,
    configurations: list[Configuration],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = open_store(start)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.001")
    board = Board(start, store, lambda: configurations, OBJECTIVES, plan="2 configurations, 2 jobs")
    assert board.update("nothing yet")
    assert "### Plan\n\n```\n2 configurations, 2 jobs\n```" in store.client.get_run(store.run_id).data.tags[NOTE_TAG]
    logged = store.client.get_run(store.run_id).data.metrics
    assert logged["system/disk_available_megabytes"] > 0
    assert all(name.startswith("system/") for name in logged)
    lane = desk(sweep_of(start, store, (), OBJECTIVES))
    for configuration in configurations:
        lane.do(Job(configuration, (0,)))
        start.ledger.look_again(configuration, [0])
    running = Board(start, store, lambda: configurations, OBJECTIVES)
    running.update("1 of 2")
    page = Path(start.ledger.folder) / "report.html"
    assert not page.exists(), "drawing it would hold up the first jobs"
    later = time.monotonic() + PAGE_EVERY_S
    with monkeypatch.context() as patch:
        patch.setattr("tclap.lanes.board.time.monotonic", lambda: later)
        running.update("1 of 2")
    assert "1 of 2" in page.read_text(encoding="utf-8")
    results = list(start.ledger.results.values())
    best = max(results, key=lambda r: r.scores["order/moved"].value + r.scores["order/paired"].value)
    parent = store.client.get_run(store.run_id)
    assert parent.data.metrics["order/moved"] == best.scores["order/moved"].value
    assert not [name for name in parent.data.metrics if "_low" in name or "_high" in name]

    (other,) = (result for result in results if result is not best)
    for result, task_1 in ((best, 0.0), (other, 90.0)):
        spoilt = replace(result.scores["1"], value=task_1)
        start.ledger.add(replace(result, scores={**result.scores, "1": spoilt}))
    guarded = replace(start, settings=start.settings.model_copy(update={"guard": ("zste/1>=50",)}))
    board = Board(guarded, store, lambda: configurations, OBJECTIVES)
    board.update("2 of 2")
    metrics = store.client.get_run(store.run_id).data.metrics
    assert metrics["zste/1"] == 90.0, "what fails a guard is not shown as the winner"
    board.write_files("table4", "done")
    assert "best: " in capsys.readouterr().out
    found = read_sweep(store.client, store.experiment_id, start.settings.name)
    assert found.guards == (Guard("zste/1", ">=", 50.0),), "tclap report ranks by them, too"
    assert {"report.html", "order.png", "table4.csv"} <= {f.path for f in store.client.list_artifacts(store.run_id)}
    shown = page.read_text(encoding="utf-8")
    for part in ("change", "pairs", "mistakes"):
        assert f"id={part}>" in shown
    assert 1 <= len(re.findall("src='data:audio/ogg", shown)) <= 15
    assert "Sounds: synthetic, made by tclap." in shown


def test_mlflow_that_is_away_is_not_asked_again_for_minutes(
    start: Start, configurations: list[Configuration], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time its client tries for minutes, and the sweep's loop waits with it."""
    store = open_store(start)
    board = Board(start, store, lambda: configurations, OBJECTIVES)
    asked = []

    def away(*_: object) -> None:
        asked.append(time.monotonic())
        raise MlflowException("no answer", TEMPORARILY_UNAVAILABLE)

    with monkeypatch.context() as patch:
        patch.setattr(store.client, "set_tag", away)
        assert not board.update("0 of 2")
        assert not board.update("0 of 2")
    assert len(asked) == 1
    later = time.monotonic() + AWAY_S
    monkeypatch.setattr("tclap.lanes.board.time.monotonic", lambda: later)
    assert board.update("0 of 2")


def test_a_full_disk_at_the_end_is_named_and_the_parent_does_not_stay_running(
    start: Start, configurations: list[Configuration], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(start)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "table4.csv")

    monkeypatch.setattr(Board, "write_files", full)
    with pytest.raises(InputError, match=r"^\[Errno 28\] No space left on device: 'table4.csv' \(what is done stays"):
        driver.conclude(start, lambda: configurations, OBJECTIVES, "table4", [], unfinished=False)
    assert store.client.get_run(store.run_id).info.status == "FAILED"


@pytest.mark.parametrize(("page", "said"), [("http://127.0.0.1:5000", True), ("http://box:8080", False)])
def test_how_to_browse_a_local_store_is_said_unless_its_page_is_somewhere_else(
    capsys: pytest.CaptureFixture[str], page: str, said: bool
) -> None:
    store = Store(None, "1", "2", "sqlite:///m.db", page)  # type: ignore[arg-type]
    driver._say_where(store, SimpleNamespace(link=lambda axes: f"{page}/view"), ())  # type: ignore[arg-type]
    out = capsys.readouterr().out
    assert ("to browse: mlflow ui" in out) == said
    assert f"leaderboard: {page}/view" in out
