"""`tclap runs`, `stop`, `pause`, `resume` on a sweep's folder; no Ray, no MLflow."""

import errno
import os
import re
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tclap.config import LossCoefficients
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS, ORDER
from tclap.flags import SweepSettings
from tclap.places import seed_folder, stop_requested
from tclap.sweep import live, steering
from tclap.sweep.claim import claim_name
from tclap.sweep.job import DONE, FAILED
from tclap.sweep.ledger import Result, write_result
from tclap.sweep.live import DRIVER_LOCK, RUNNING, Live
from tclap.sweep.plan import make_plan
from tclap.training import checkpoint
from tests import helpers

SETTINGS = SweepSettings(_cli_parse_args=False)
PLAN = make_plan(
    [
        SETTINGS.configuration(stages, LossCoefficients(alpha_st=alpha), 40)
        for stages in ("B", "AB")
        for alpha in (0, 1)
    ],
    (0, 1),
)
STAGE_A, ALONE, OTHER, CHILD, LAST = PLAN.jobs


def tclap(storage: Path, *arguments: str) -> str:
    return helpers.tclap(*arguments, "--storage", storage)


@pytest.fixture
def folder(tmp_path: Path, mini) -> Path:
    """A sweep whose stage A and first job are done with seed 0."""
    sweep = tmp_path / "s"
    claim_name(sweep, SETTINGS.identity())
    scores = {name: Score(60.0, 50.0, 70.0, 9, 50.0) for name in (*COLUMNS, *EXTRA_COLUMNS, *ORDER)}
    for job in (STAGE_A, ALONE):
        for seed in (0, 1) if job is STAGE_A else (0,):
            place = seed_folder(sweep, job.configuration, seed)
            checkpoint.save(place / "checkpoint", mini, {"configuration": job.configuration.model_dump(mode="json")})
            write_result(place, Result(job.hash, seed, scores, 1.0, 3, "here"))
    return sweep


def started(folder: Path, now: float) -> None:
    """What a driver wrote at that time."""
    live = Live(folder, lambda: now)
    for job, state in zip(PLAN.jobs, (DONE, RUNNING, FAILED, "waiting", "waiting"), strict=True):
        live.tell(job, f"label of {job.hash}", state, 300, "ValueError: no" if state == FAILED else "")
    live.at(ALONE.hash, 120)
    live.write("1 of 5 jobs done")


def states(printed: str) -> dict[str, str]:
    header, *lines = printed.splitlines()
    state = slice(header.index("state"), header.index("seeds done"))
    return {line.split()[0]: line[state].strip() for line in lines if re.match("[0-9a-f]{12} ", line)}


def test_jobs_of_a_running_sweep_with_their_state_steps_and_score(folder: Path) -> None:
    started(folder, time.time())
    steering.pause(folder, CHILD.hash)
    printed = tclap(folder.parent, "runs", "s")
    assert states(printed) == {
        STAGE_A.hash: "done",
        ALONE.hash: "running",
        OTHER.hash: "failed: ValueError: no",
        CHILD.hash: "paused",
        LAST.hash: "waiting",
    }
    assert "120 of 300" in printed
    assert "1 of 2" in printed
    assert "60.0" in printed  # of the seed that is done
    assert "1 of 5 jobs done" in printed


def test_jobs_of_a_sweep_whose_driver_was_killed(folder: Path) -> None:
    started(folder, time.time() - 3600)
    printed = tclap(folder.parent, "runs", "s")
    assert states(printed)[ALONE.hash] == "interrupted"
    assert states(printed)[LAST.hash] == "not done"
    assert "no process runs it now" in printed


def test_a_driver_that_is_silent_since_it_waits_for_mlflow_can_be_stopped(folder: Path) -> None:
    started(folder, time.time() - 3600)
    with FileLock(folder / DRIVER_LOCK):
        assert states(tclap(folder.parent, "runs", "s"))[ALONE.hash] == "running"
        tclap(folder.parent, "stop", "s")
    assert stop_requested(folder)
    assert states(tclap(folder.parent, "runs", "s"))[ALONE.hash] == "interrupted"


def test_a_sweep_whose_lock_is_not_ours_to_try_is_listed_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A colleague's, whose driver was killed: who may only read it may still look at it."""
    started(folder, time.time() - 3600)
    (folder / DRIVER_LOCK).touch()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder / DRIVER_LOCK))

    monkeypatch.setattr(live, "FileLock", refused)  # as for whoever is not root
    monkeypatch.setattr(os, "access", lambda place, mode: not (place == folder / DRIVER_LOCK and mode == os.W_OK))
    assert "no process runs it now" in tclap(folder.parent, "runs", "s")


def test_a_sweep_of_a_version_that_wrote_no_states(folder: Path) -> None:
    printed = tclap(folder.parent, "runs", "s")
    assert states(printed) == {STAGE_A.hash: "done", ALONE.hash: "done"}
    assert "B  α 0 1 1 1  β 1  batch 40" in printed
    (seed_folder(folder, ALONE.configuration, 0) / "checkpoint" / "config.json").unlink()
    assert "(its checkpoint does not say)" in tclap(folder.parent, "runs", "s")


def test_stop_and_pause_and_resume_leave_what_driver_and_workers_look_for(folder: Path) -> None:
    started(folder, time.time())
    tclap(folder.parent, "pause", "s", CHILD.hash[:6])
    assert steering.paused(folder) == {CHILD.hash}
    tclap(folder.parent, "resume", "s", CHILD.hash)
    assert not steering.paused(folder)
    tclap(folder.parent, "pause", "s")
    assert steering.is_paused(folder, LAST.hash)
    tclap(folder.parent, "resume", "s")
    assert not steering.is_paused(folder, LAST.hash)
    assert not stop_requested(folder)
    tclap(folder.parent, "stop", "s")
    assert stop_requested(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs", "none"], "no sweep 'none' in .*; there are: s"),
        (["stop", "s"], "no process runs the sweep s now"),
        (["pause", "s", "abc"], "no process runs the sweep s now"),
        (["resume", "s"], "s is not paused"),
        (["resume", "s", "zzz"], "no single job 'zzz' in the sweep s: tclap runs lists the jobs"),
        (["exclude", "s", ALONE.hash], "say --why"),
        (["exclude", "s", STAGE_A.hash, "--why", "x"], "is a stage-A run, which stands in no table"),
        (["exclude", "s", ALONE.hash, "--undo"], f"{ALONE.hash} is not excluded"),
    ],
)
def test_wrong_input_is_one_line(folder: Path, capsys: pytest.CaptureFixture, arguments, message) -> None:
    with pytest.raises(SystemExit) as stopped:
        tclap(folder.parent, *arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()

    assert re.search(message, line), line
