"""What is shown while a sweep runs: the time left when jobs fail, and how far each lane is."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tclap.lanes import progress
from tclap.lanes.progress import Progress
from tclap.sweep.job import DONE, FAILED, Job
from tclap.sweep.ledger import Ledger
from tests.sweep.test_plan import ROWS

JOBS = [Job(configuration, (0, 1)) for configuration in ROWS[:4]]
STEPS = JOBS[0].configuration.optimiser.steps


def trial(job: Job, **result: Any) -> Any:
    return SimpleNamespace(config={"job": job.to_json()}, last_result=result, error_file="error.txt")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    return now_s


@pytest.fixture
def shown(tmp_path: Path) -> Progress:
    ledger = Ledger(tmp_path)
    return Progress(JOBS, lambda: len(JOBS), 0, ledger, None, ("zste/1",), [], lambda status: True)  # type: ignore[arg-type]


def test_what_failed_has_taken_no_steps(
    clock: list[float], shown: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its other steps, counted as taken in a moment, would say that all of the rest takes a moment, too."""
    shown.on_trial_start(0, [], trial(JOBS[0]))
    clock[0] += 600.0
    shown.on_trial_complete(0, [], trial(JOBS[0], outcome=DONE, **{"zste/1": 50.0}))
    told = capsys.readouterr().out
    assert "about 30.0 min left" in told
    shown.on_trial_start(0, [], trial(JOBS[1]))
    shown.on_trial_complete(0, [], trial(JOBS[1], outcome=FAILED, reason="its stage-A run failed"))
    shown.on_trial_start(0, [], trial(JOBS[2]))
    shown.on_trial_error(0, [], trial(JOBS[2]))
    assert re.search(r"about (\S+) min left", shown._time_left()).group(1) == "10.0"  # type: ignore[union-attr]


def test_a_lanes_bar_counts_the_steps_of_all_seeds(shown: Progress) -> None:
    shown.on_trial_start(0, [], trial(JOBS[0]))
    shown._draw({"lane-0": (JOBS[0].hash, STEPS + 3)})
    assert (shown._bars.tasks[-1].completed, shown._bars.tasks[-1].total) == (STEPS + 3, 2 * STEPS)
