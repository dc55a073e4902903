"""Where a study lies, a journal or a database: away for a while, another search's, or of a space that has grown."""

import optuna
import pytest
from optuna.trial import TrialState

from tclap.errors import InputError
from tclap.search_flags import SearchSettings
from tclap.sweep import journal
from tclap.sweep import study as studies
from tclap.sweep.outcome import Outcome
from tclap.sweep.sources import WAIT
from tclap.sweep.study_source import StudySource
from tests.sweep.searching import CHOICES, SETTINGS, completed, drive, objectives, opened

pytestmark = pytest.mark.usefixtures("without_waiting_for_the_disk")


def test_a_storage_that_is_away_is_waited_for(tmp_path, monkeypatch, capsys):
    """Asked again by Tune, and told before it is asked: nothing is lost, and the search does not end."""
    place = tmp_path / "study.journal"
    study, source = opened(place, "random", limit=3)

    def away(*args, **kwargs):
        raise OSError("stale file handle")

    first = source.next()
    with monkeypatch.context() as patch:
        patch.setattr(study, "tell", away)
        patch.setattr(study, "ask", away)
        source.ended(first, objectives(first.configuration))
        assert [source.next() for _ in range(3)] == [WAIT] * 3
    assert capsys.readouterr().out.count("does not answer, and is waited for: stale file handle") == 1
    assert [t.state for t in study.trials] == [TrialState.RUNNING]
    told, _ = drive(source)
    assert len(told) == 2
    assert study.trials[0].values == list(objectives(first.configuration).values())
    assert len(set(completed(study))) == len(completed(study)) == len(source.asked) == 3


def test_a_study_of_another_search_is_refused_before_anything_in_it_changes(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study, source = opened(url, "random")
    source.next()
    other = SETTINGS.model_copy(update={"lr": 0.5, "objectives": ("zste/1",)})
    with pytest.raises(InputError, match=r"study s of another search: lr was 0.001, now 0.5; objectives was"):
        opened(url, "random", other)
    assert [t.state for t in study.trials] == [TrialState.RUNNING]
    for place in (url, tmp_path / "study.journal"):  # a journal lies in the folder of its sweep, which nobody else has
        studies.open_study("s", place, "random", 0, SETTINGS.objectives)
    foreign = optuna.create_study(study_name="foreign", storage=url)
    foreign.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(InputError, match=r"study foreign of another search: .*lr was \(not set\), now 0.001"):
        studies.open_study("foreign", url, "random", 0, SETTINGS.objectives, SETTINGS.identity())


@pytest.mark.parametrize("url", ["no url", "sqlite:////nowhere/at/all.db", "oracle://user:secret@host/db"])
def test_a_database_that_cannot_be_used_is_one_line_without_its_password(url):
    with pytest.raises(InputError, match="--study") as refused:
        studies.open_study("s", url, "random", 0, SETTINGS.objectives, {})
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_database_keeps_the_study_too(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    drive(opened(url, "random", limit=5)[1])
    study, source = opened(url, "random", limit=9)
    told, _ = drive(source)
    assert len(told) == 4
    assert len(set(completed(study))) == 9


def test_a_space_that_grew_has_a_study_of_its_own_that_knows_what_is_done(tmp_path):
    """Optuna holds a study to its distributions. Nothing that is done is drawn again; going back finds the first."""
    place = tmp_path / "study.journal"
    smaller = SearchSettings(batch_sizes=(128,), _cli_parse_args=False)
    grown = SearchSettings(batch_sizes=(128, 256), lrs=(1e-3, 1e-4), _cli_parse_args=False)
    objectives_of = {}

    def search(settings, limit):
        study = studies.open_study(
            "s", place, "random", 3, settings.objectives, choices=settings.choices(), may_grow=settings.may_grow
        )
        found = [(c, journal.point_of(c, settings.choices())) for c in objectives_of]
        points = [point for c, point in found if point is not None and settings.at(point) == c]
        told_before = journal.rebuild(
            study, settings.choices(), iter(points), lambda p: Outcome(objectives_of[settings.at(p)])
        )
        source = StudySource(
            study, settings.choices(), settings.at, settings.objectives, limit, False, 3, (), (0,), print
        )
        told, _ = drive(source)
        objectives_of.update({c: list(objectives(c).values()) for c in told})
        return study, told_before, told

    first, before, told = search(smaller, 10)
    assert (first.study_name, before, len(told)) == ("s", 0, 10)
    second, before, told = search(grown, 25)
    assert (second.study_name, before, len(told)) == ("s (2)", 10, 15)
    assert len(objectives_of) == 25
    again, before, told = search(grown, 30)
    assert (again.study_name, before, len(told)) == ("s (2)", 0, 5)
    back, before, told = search(smaller, 10)
    assert back.study_name == "s"
    assert told == []


def test_a_database_takes_other_seeds_and_another_space_but_no_other_learning_rate(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"

    def start(settings):
        owner = settings.identity()
        return studies.open_study(
            "s", url, "random", 0, settings.objectives, owner, settings.choices(), settings.may_grow
        )

    start(SETTINGS).ask(studies.distributions(CHOICES))
    more = SETTINGS.model_copy(update={"seeds": (0, 1), "batch_sizes": (64,), "sampler": "tpe"})
    assert start(more).study_name == "s (2)"
    with pytest.raises(InputError, match=r"lr was 0\.001, now 0\.5"):
        start(SETTINGS.model_copy(update={"lr": 0.5}))
