"""Journals as crashes and full disks leave them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tclap.errors import InputError
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS, ORDER
from tclap.lanes.search import _outcome_at
from tclap.places import checkpoint_folder
from tclap.search_flags import SearchSettings
from tclap.sweep import journal
from tclap.sweep import study as studies
from tclap.sweep.ledger import Result, read_ledger, write_result
from tclap.sweep.outcome import Outcome
from tclap.training import checkpoint


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def settings(tmp_path: Path) -> SearchSettings:
    flags = ["--storage", str(tmp_path), "--name", "s", "--batch-sizes", "4,8", "--seeds", "0", "--lrs", "1e-3,3e-3"]
    return SearchSettings(_cli_parse_args=flags)


@pytest.fixture
def searched(settings: SearchSettings, mini) -> Path:
    """The journal of a search with five finished points and one that was interrupted."""
    choices, file = settings.choices(), settings.sweep_folder / "study.journal"
    settings.sweep_folder.mkdir()
    study = studies.open_study("s", file, "random", 0, settings.objectives)
    for number in range(6):
        trial = studies.ask(study, choices, 100, False, 0)
        if number == 5:
            break
        configuration = settings.at(trial.params)
        place = checkpoint_folder(settings.sweep_folder, configuration, 0)
        checkpoint.save(place, mini, {"configuration": configuration.model_dump(mode="json"), "seed": 0})
        scores = {name: Score(10.0 * number, 0.0, 100.0, 9, 50.0) for name in (*COLUMNS, *EXTRA_COLUMNS, *ORDER)}
        write_result(place.parent, Result(place.parent.parent.name, 0, scores, 1.0, 3, "here"))
        studies.tell(study, trial.number, Outcome([10.0 * number, 10.0 * number]))
    return file


def glue(raw: bytes) -> bytes:
    middle = raw.index(b"\n", len(raw) // 2)
    return raw[:middle] + raw[middle + 1 :]


DAMAGE = {
    "blank line inside": lambda raw: raw.replace(b"\n", b"\n\n", 3),
    "two records glued": glue,
    "cut last line": lambda raw: raw[:-9],
    "no end of the last line": lambda raw: raw[:-1],
    "NULs at the end": lambda raw: raw + b"\0" * 512,
    "NULs inside": lambda raw: raw[: len(raw) // 2] + b"\0" * 64 + raw[len(raw) // 2 + 64 :],
    "a record is no object": lambda raw: raw + b"12\n",
    "a record of nothing": lambda raw: raw + b"{}\n",
    "the first half is gone": lambda raw: raw[raw.index(b"\n", len(raw) // 2) + 1 :],
    "no journal at all": lambda raw: b"PK\3\4" + os.urandom(300),
    "another encoding": lambda raw: raw.decode().encode("utf-16"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_journal_is_kept_and_made_again_from_the_results(settings, searched, damage):
    before = {k: t.values for k, t in visited(settings, searched).items() if t.values}
    assert len(before) == 5
    raw = DAMAGE[damage](searched.read_bytes())
    searched.write_bytes(raw)
    kept = journal.set_aside_if_damaged(searched)
    assert kept == searched.with_name("study.journal.damaged-1")
    assert kept.read_bytes() == raw
    assert not searched.exists()
    study = studies.open_study("s", searched, "random", 0, settings.objectives)
    ledger = read_ledger(settings.sweep_folder)
    points = journal.done_points(ledger, settings.choices(), settings.at)
    assert journal.rebuild(study, settings.choices(), points, lambda p: _outcome_at(settings, ledger, p)) == 5
    assert {k: t.values for k, t in visited(settings, searched).items()} == before
    assert journal.set_aside_if_damaged(searched) is None
    trial = studies.ask(study, settings.choices(), 100, False, 0)
    assert studies.key(trial.params) not in before


def visited(settings, file):
    study = studies.open_study("s", file, "random", 0, settings.objectives)
    return studies.visited(study, settings.choices())


def test_a_second_damage_does_not_overwrite_what_was_kept(searched):
    searched.write_bytes(b"1\n")
    assert journal.set_aside_if_damaged(searched).name == "study.journal.damaged-1"
    searched.write_bytes(b"2\n")
    kept = journal.set_aside_if_damaged(searched)
    assert (kept.name, kept.read_bytes()) == ("study.journal.damaged-2", b"2\n")


def test_a_sound_journal_and_none_are_left_alone(searched, tmp_path):
    raw = searched.read_bytes()
    assert journal.set_aside_if_damaged(searched) is None
    assert searched.read_bytes() == raw
    assert journal.set_aside_if_damaged(tmp_path / "none") is None


def test_a_journal_that_is_no_file_is_one_line(tmp_path):
    (tmp_path / "study.journal").mkdir()
    with pytest.raises(InputError, match=r"study.journal cannot be read: Is a directory"):
        journal.set_aside_if_damaged(tmp_path / "study.journal")


LEAVE_LOCKED = """
import os, sys
from optuna.storages.journal import JournalFileSymlinkLock
JournalFileSymlinkLock(sys.argv[1]).acquire()
os._exit(9)
"""


@pytest.mark.parametrize("journal_exists", [True, False])
@pytest.mark.parametrize("named", ["st1/s1/study.journal", "./st1/s1/study.journal", "st1/../st1/s1/study.journal"])
def test_a_stale_lock_of_a_relative_path_is_not_waited_for(tmp_path, monkeypatch, named, journal_exists):
    """Optuna's lock is a link to the path as it was given; below st1/s1 it points nowhere, and Optuna spun for ever."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "st1" / "s1").mkdir(parents=True)
    if journal_exists:
        studies.open_study("s", Path(named), "random", 0, ["x"])
    assert subprocess.run([sys.executable, "-c", LEAVE_LOCKED, named], check=False).returncode == 9
    assert os.path.islink(f"{named}.lock")
    script = (
        "import sys; from pathlib import Path; from tclap.sweep.study import open_study;"
        "print(len(open_study('s', Path(sys.argv[1]), 'random', 0, ['x']).trials))"
    )
    done = subprocess.run([sys.executable, "-c", script, named], timeout=60, capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert not os.path.lexists(f"{named}.lock")
