"""A second Ctrl-C, which does not wait for what runs: the sweep ends as after the first, and goes on."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from mlflow import MlflowClient

from tclap.config import LossCoefficients
from tclap.flags import SweepSettings
from tclap.lanes import worker
from tclap.lanes.driver import run_sweep
from tclap.lanes.search import run_search
from tclap.search_flags import SearchSettings

SMALL = {"takes": 1, "eval_takes": 1, "base_steps": 5, "steps_b": 3, "batch_sizes": (6,)}


def run_list(root: Path, storage: Path) -> int:
    settings = SweepSettings(data=root, storage=storage, name="s", **SMALL)
    return run_sweep(settings, [settings.configuration("B", LossCoefficients(alpha_st=st), 6) for st in (0, 1)], "rows")


def run_a_search(root: Path, storage: Path) -> int:
    of = {"trials": 2, "sampler": "random", "stages": ("B",), "_cli_parse_args": False}
    return run_search(SearchSettings(data=root, storage=storage, name="s", **SMALL, **of))


def status(storage: Path) -> str:
    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    (parent,) = client.search_runs([client.get_experiment_by_name("tclap").experiment_id], "tags.kind = 'sweep'")
    return parent.info.status


@pytest.mark.parametrize("ambient", [signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "background"])
@pytest.mark.parametrize("run", [run_list, run_a_search])
def test_a_second_ctrl_c_ends_the_sweep_as_the_first_does_and_it_goes_on(
    run: Callable[[Path, Path], int],
    ambient: Any,
    root: Path,
    tmp_path: Path,
    began: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    do, ended = worker.Desk.do, []

    def interrupted(self: worker.Desk, job: worker.Job) -> worker.Report:
        if len(began) == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return do(self, job)

    before = signal.signal(signal.SIGINT, ambient)
    with monkeypatch.context() as patch:
        patch.setattr(worker.Desk, "do", interrupted)
        patch.setattr(ray, "shutdown", lambda: ended.append("Ray"))
        assert run(root, tmp_path) == 130
    assert signal.signal(signal.SIGINT, before) is ambient
    said = capsys.readouterr().out
    assert "stopping: what runs is checkpointed first (again to stop at once)" in said
    assert "stopped; the same command goes on from here:" in said
    assert status(tmp_path) == "KILLED"
    assert ended == ["Ray"]
    assert run(root, tmp_path) == 0
    assert status(tmp_path) == "FINISHED"
    assert len(began) == 3
    assert began[2] == began[1]
