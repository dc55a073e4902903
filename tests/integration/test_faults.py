"""kill -9 in the middle: nothing is lost, nothing is there twice, and the table is that of an undisturbed sweep."""

import dataclasses
import json
import os
import random
import shlex
import signal
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from tclap.data.synth import write_dataset
from tclap.places import RESULT, STATE
from tclap.sweep import steering
from tclap.sweep.job import STOPPED
from tests.integration import chaos

TARGETS = ("worker", "lane", "script", "MLflow server", "node")
RANDOM_TARGETS = (*TARGETS, "mailbox")
STEERED = ("script", "lane", "MLflow server")
# A guard that always fails, so that jobs are stopped at their first rung: a fifth of stage B.
NEVER = "zste/1>=101"
STOPPING = f"{chaos.SMALL} --stop-early --guard={NEVER}"
RUNG = chaos.STEPS["B"] // 5
BOTH = [*chaos.ROWS, ("B", {})]  # the second one begins, and is stopped, before the first
# What a job that is stopped leaves one after another, and what each says of it.
STOPS = {"judged": STATE, "being written": "checkpoint", "written": RESULT}
MOMENTS = {"stage A": ("A", 50), "stage B": ("B", 50), "evaluation": ("B", chaos.STEPS["B"])}


@pytest.fixture(scope="module")
def place(root, tmp_path_factory):
    with chaos.a_place(root, tmp_path_factory.mktemp("chaos")) as place:
        yield place


@pytest.fixture(scope="module")
def undisturbed(place):
    running = chaos.launch(place, "undisturbed")
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    return chaos.table(running)


def test_five_kills_and_ctrl_c_in_one_sweep(place, undisturbed):
    """Each part killed once, spread over stage A, stage B and evaluation; in between the script is interrupted."""
    running = chaos.launch(place, "disturbed")
    for target, stage, step in (
        ("worker", "A", 50),
        ("node", "A", 100),
        ("lane", "A", chaos.STEPS["A"]),  # evaluating
        ("MLflow server", "B", 50),
        ("Ctrl-C", "B", 100),
        ("script", "B", chaos.STEPS["B"]),  # evaluating
    ):
        chaos.wait_until_in(running, stage, step)
        running = _interrupted(running) if target == "Ctrl-C" else chaos.disturb(running, target)
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    assert chaos.table(running) == undisturbed


def _interrupted(running):
    """After Ctrl-C: checkpointed, marked, and the last line is the command that goes on, which is then run."""
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(120) == 130, running.log.read_text()[-6000:]
    last = running.log.read_text().splitlines()[-1]
    assert shlex.split(last)[-2:] == chaos.SMALL.split()[-2:]
    statuses = {run.data.tags["kind"]: run.info.status for run in chaos.runs_of(running)}
    assert statuses == {"sweep": "KILLED", "stage_a": "FINISHED", "trial": "KILLED"}
    return chaos.launch(running.place, running.name)


@pytest.mark.chaos
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("target", TARGETS)
def test_one_kill(place, undisturbed, target, moment):
    running = chaos.launch(place, f"{target}-{moment}".replace(" ", "-"))
    chaos.wait_until_in(running, *MOMENTS[moment])
    running = chaos.disturb(running, target)
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    assert chaos.table(running) == undisturbed


@pytest.fixture(scope="module")
def large(place, tmp_path_factory):
    """The same place with clips enough for a hundred chunks of windows."""
    data = write_dataset(tmp_path_factory.mktemp("large") / "data", classes=10, clips=60, seed=0)
    return dataclasses.replace(place, data=data)


@pytest.mark.chaos
@pytest.mark.parametrize(("target", "takes"), [("worker", 200), ("node", 201), ("script", 202)])
def test_a_kill_while_features_are_computed(large, target, takes):
    """Other takes for each, so that no set is there already."""
    running = chaos.launch(large, f"features-{target}", flags=chaos.SMALL.replace("--takes=8", f"--takes={takes}"))
    chaos.wait_until_extracting(running, chunks=5)
    before = set((large.storage / "cache" / "features").glob("*.partial"))
    assert before, "the set was made before it could be disturbed"
    running = chaos.disturb(running, target)
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    for partial in before:
        features = np.load(partial.with_suffix("") / "audio.npy", mmap_mode="r")
        assert np.abs(features).max(axis=(1, 2)).min() > 0, "a chunk was counted as done and is not there"
        assert not partial.exists()


@pytest.mark.chaos
@pytest.mark.parametrize("target", STEERED)
def test_a_kill_while_a_sweep_is_paused(place, undisturbed, target):
    running = chaos.launch(place, f"paused-{target}".replace(" ", "-"))
    chaos.wait_until_in(running, "B", 50)
    name = chaos.hashes()["B"]
    steering.pause(running.folder, None)
    chaos.wait_until(running, lambda: chaos.state_of(running, name) == STOPPED)
    running = chaos.disturb(running, target)
    time.sleep(5)
    assert running.process.poll() is None, running.log.read_text()[-6000:]
    assert not (running.folder / "trials" / name / "seed-0" / "result.json").exists()
    steering.resume(running.folder)
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    assert chaos.table(running) == undisturbed


@pytest.mark.chaos
@pytest.mark.parametrize("target", STEERED)
def test_a_kill_while_a_sweep_is_extended(place, target):
    """Another seed for a finished sweep, whose results and table lines stay as they are."""
    running = chaos.launch(place, f"extended-{target}".replace(" ", "-"))
    running.finish()
    first = {path: path.read_bytes() for path in running.folder.glob("trials/*/*/result.json")}
    line = chaos.table(running).splitlines()[1]
    running = chaos.launch(place, running.name, flags=f"{chaos.SMALL} --seeds=0,1")
    chaos.wait_until_in(running, "B", 50, seed=1)
    running = chaos.disturb(running, target)
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    assert {path: path.read_bytes() for path in first} == first
    assert chaos.table(running).splitlines()[1] == line
    assert len(chaos.table(running).splitlines()) == 3


@pytest.fixture(scope="module")
def both_undisturbed(place):
    running = chaos.launch(place, "both-undisturbed", BOTH)
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    return chaos.table(running)


@pytest.mark.chaos
@pytest.mark.parametrize("moment", STOPS)
@pytest.mark.parametrize("target", STEERED)
def test_a_kill_while_a_job_is_stopped_early(place, both_undisturbed, target, moment):
    """The first of two jobs that are stopped at their first rung; in the end both go on to their last step."""
    name = f"stopped-{target}-{moment}".replace(" ", "-")
    running = chaos.launch(place, name, BOTH, STOPPING)
    first = _wait_until_stopped(running, STOPS[moment])
    written = first.read_bytes() if first.exists() else None
    running = chaos.disturb(running, target)
    running.finish()
    stopped = _assert_stopped_once(running)
    assert written in (None, first.read_bytes()), "a job was run again after it was stopped"

    running = chaos.launch(place, name, BOTH, STOPPING)
    running.finish()
    assert "nothing left to do" in running.log.read_text()
    assert _assert_stopped_once(running) == stopped, "what was stopped was run again"

    running = chaos.launch(place, name, BOTH)
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    for run in chaos.trials_of(running):
        assert not {"stopped_at", "stopped_why"} & run.data.tags.keys()
        assert chaos.scored(running, run) == [RUNG, chaos.STEPS["B"]]
        assert chaos.scored_models(running, run) == [chaos.STEPS["B"]]
    assert chaos.table(running) == both_undisturbed


def _wait_until_stopped(running, file):
    """Wait until job B has that file of those that it leaves at its rung; returns where its result is, or will be."""
    folder = running.folder / "trials" / chaos.hashes()["B alone"] / "seed-0"
    order = list(STOPS.values())
    there = {STATE: lambda: chaos.step_in(folder / STATE) >= RUNG}
    chaos.wait_until(running, there.get(file, (folder / file).exists))
    for later in order[order.index(file) + 1 :]:
        assert not (folder / later).exists(), f"{later} was there before the job could be disturbed"
    return folder / RESULT


def _assert_stopped_once(running):
    """Both jobs were stopped at their first rung, and stage A was not; returns what a second time would change."""
    chaos.assert_nothing_lost_or_twice(running, steps_b=RUNG)
    trials = chaos.trials_of(running)
    for run in trials:
        assert run.data.tags["stopped_at"] == str(RUNG)
        assert run.data.tags["stopped_why"] == f"{NEVER} fails by its whole interval"
        assert chaos.scored(running, run) == chaos.scored_models(running, run) == [RUNG]
    table = pd.read_csv(running.folder / "table4.csv")
    assert table["stopped_at"].tolist() == [RUNG] * len(BOTH)
    results = {path: path.read_bytes() for path in running.folder.glob("trials/*/*/result.json")}
    assert len(results) == len(BOTH) + 1  # with stage A's
    return results, {run.info.run_id: run.info.end_time for run in trials}


KILLS = 100
ONE_WORKER = chaos.SMALL.replace("--workers=2", "--workers=1")  # so two trials run side by side, one on each node
TABLE4 = [
    (stages, {"alpha_st": st, "alpha_ct": ct, "alpha_so": st, "alpha_co": ct})
    for stages in ("B", "AB")
    for st, ct in ((0, 0), (1, 0), (0, 1), (1, 1))
]


@pytest.mark.chaos
def test_a_hundred_random_kills(place):
    """Table IV again and again, something killed twice a minute or so; prints the figures."""
    started = time.monotonic()
    calm = chaos.launch(place, "calm", TABLE4, ONE_WORKER)
    calm.finish(3600)
    calm_s = time.monotonic() - started
    seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    print(f"CHAOS_SEED={seed} draws these kills again", flush=True)
    rng = random.Random(seed)
    kills = dict.fromkeys(RANDOM_TARGETS, 0)
    found: Counter[tuple[str, str, str]] = Counter()  # (sweep, config_hash, seed) -> its runs, deleted ones included
    sweeps, disturbed_s = 0, 0.0
    while sum(kills.values()) < KILLS:
        sweeps += 1
        started = time.monotonic()
        running = chaos.launch(place, f"random-{sweeps}", TABLE4, ONE_WORKER)
        while running.process.poll() is None and sum(kills.values()) < KILLS:
            time.sleep(rng.uniform(10, 34))
            target = rng.choice(RANDOM_TARGETS)
            while running.process.poll() is None and not chaos.can_disturb(running, target):
                time.sleep(0.5)
            if running.process.poll() is None:
                running = chaos.disturb(running, target)
                kills[target] += 1
        running.finish(3600)
        disturbed_s += time.monotonic() - started
        print(f"sweep {sweeps}: {kills} after {disturbed_s:.0f} s", flush=True)
        found.update(chaos.children_of(running))
        chaos.assert_nothing_lost_or_twice(running)
        assert chaos.table(running) == chaos.table(calm)
    trials = sweeps * len(chaos.children_of(calm))
    figures = {
        "kills": kills,
        "sweeps": sweeps,
        "trials": trials,
        "lost": trials - len(found),
        "duplicated": found.total() - len(found),
        "calm_s": round(calm_s),
        "extra_s_per_kill": round((disturbed_s - sweeps * calm_s) / KILLS, 1),
    }
    print(json.dumps(figures))
    assert (trials, figures["lost"], figures["duplicated"]) == (9 * sweeps, 0, 0)  # 8 rows and stage A's run
