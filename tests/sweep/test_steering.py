"""The files by which people steer a sweep, and the one that says how its jobs are."""

import errno
import json

import pytest

from tclap.config import Configuration, LossCoefficients, OptimiserSettings
from tclap.errors import InputError
from tclap.sweep import steering
from tclap.sweep.job import DONE, Job
from tclap.sweep.live import BEAT_S, LIVE, RUNNING, SILENT_S, WRITE_EVERY_S, Live, read_live

JOBS = [
    Job(
        Configuration(
            stages="B",
            batch_size=4,
            coefficients=LossCoefficients(alpha_st=alpha),
            optimiser_b=OptimiserSettings(steps=7),
        ),
        (0, 1),
    )
    for alpha in (0, 1)
]


def test_one_job_is_paused_or_all_and_resumed(tmp_path):
    assert not steering.is_paused(tmp_path, "a")
    steering.pause(tmp_path, "a")
    steering.pause(tmp_path, "b")
    assert steering.paused(tmp_path) == {"a", "b"}
    assert not steering.is_paused(tmp_path, "c")
    assert steering.resume(tmp_path, "a")
    assert not steering.resume(tmp_path, "a")
    assert steering.is_paused(tmp_path, "b")
    steering.pause(tmp_path, None)
    assert steering.is_paused(tmp_path, "c")
    assert steering.resume(tmp_path)
    assert not steering.is_paused(tmp_path, "b")
    assert list(tmp_path.iterdir()) == []


def test_what_is_excluded_keeps_its_reason_and_comes_back(tmp_path):
    assert steering.excluded(tmp_path) == {}
    steering.exclude(tmp_path, "a", "a clip was mislabelled")
    steering.exclude(tmp_path, "b", "ß")
    assert steering.excluded(tmp_path) == {"a": "a clip was mislabelled", "b": "ß"}
    steering.exclude(tmp_path, "a", None)
    assert steering.excluded(tmp_path) == {"b": "ß"}


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, text):
    (tmp_path / steering.EXCLUDED).write_text(text)
    with pytest.raises(InputError, match=r"excluded\.json .*: delete it"):
        steering.excluded(tmp_path)


def test_jobs_are_written_as_they_change_and_now_and_then_as_a_sign_of_life(tmp_path):
    clock = [1000.0]
    live = Live(tmp_path, lambda: clock[0])
    for job in JOBS:
        live.tell(job, "label", "waiting", 14)
    live.write("0 of 2 jobs done")
    live.tell(JOBS[0], "label", RUNNING, 14)
    live.at(JOBS[0].hash, 5)
    live.at("a search's, not told of yet", 3)
    live.write("too soon")
    assert [job.state for job in read_live(tmp_path).jobs] == ["waiting", "waiting"]
    clock[0] += WRITE_EVERY_S
    live.write("1 running")
    seen = read_live(tmp_path)
    assert [(job.state, job.step, job.steps, job.seeds) for job in seen.jobs] == [
        (RUNNING, 5, 14, (0, 1)),
        ("waiting", 0, 14, (0, 1)),
    ]
    assert seen.status == "1 running"
    assert seen.runs(clock[0] + 1)
    assert not seen.runs(clock[0] + SILENT_S)  # its driver was killed
    clock[0] += BEAT_S + 1
    live.write("1 running")  # nothing is new
    assert read_live(tmp_path).written_at == clock[0]
    live.tell(JOBS[0], "label", DONE, 0)
    live.write("done", ended=True)
    assert read_live(tmp_path).jobs[0].state == DONE
    assert not read_live(tmp_path).runs(clock[0])


def test_a_storage_that_is_away_costs_signs_of_life_and_no_more(tmp_path, monkeypatch):
    clock = [1000.0]
    live = Live(tmp_path, lambda: clock[0])
    live.tell(JOBS[0], "label", RUNNING, 14)
    with monkeypatch.context() as patch:

        def away(path, text):
            raise OSError(errno.ESTALE, "Stale file handle")

        patch.setattr("tclap.sweep.live.write_atomically", away)
        live.write("1 running")
    live.write("1 running")
    assert read_live(tmp_path) is None, "it is not asked again at once"
    clock[0] += BEAT_S
    live.write("1 running")
    assert read_live(tmp_path).jobs[0].state == RUNNING


@pytest.mark.parametrize("text", [None, "", "{}", json.dumps({"jobs": [{"hash": "a"}]})])
def test_a_file_of_another_version_is_none(tmp_path, text):
    if text is not None:
        (tmp_path / LIVE).write_text(text)
    assert read_live(tmp_path) is None
