"""The same name with more: only what is new is left to do, and what an earlier start finished stays in view."""

from pathlib import Path

import pytest

from tclap.axes import expand
from tclap.config import LossCoefficients, config_hash
from tclap.flags import SweepSettings
from tclap.places import seed_folder
from tclap.sweep.ledger import Result, read_ledger, write_result
from tclap.sweep.plan import describe, make_plan
from tclap.sweep.recorded import also_done, done_configurations
from tclap.sweep.sources import ListSource
from tclap.training import checkpoint


def rows(settings: SweepSettings, count: int = 4):
    """So many of stage B alone, and as many of A and B."""
    return [
        settings.configuration(stages, LossCoefficients(alpha_st=n / 4), batch_size)
        for batch_size in settings.batch_sizes
        for stages in ("B", "AB")
        for n in range(count)
    ]


@pytest.fixture
def settings(tmp_path: Path) -> SweepSettings:
    return SweepSettings(storage=tmp_path, name="s", _cli_parse_args=False)


@pytest.fixture
def done(settings: SweepSettings, mini) -> list[Path]:
    """The result files of four rows of each kind with seed 0, and of the stage-A run that they share."""
    files = []
    for job in make_plan(rows(settings), (0,)).jobs:
        place = seed_folder(settings.sweep_folder, job.configuration, 0)
        checkpoint.save(place / "checkpoint", mini, {"configuration": job.configuration.model_dump(mode="json")})
        write_result(place, Result(job.hash, 0, {}, 1.0, 3, "here"))
        files.append(place / "result.json")
    return files


def test_a_second_seed_is_eight_runs_more_and_one_of_stage_a(settings, done):
    ledger, plan = read_ledger(settings.sweep_folder), make_plan(rows(settings), (0, 1))
    left = plan.left(ledger)
    assert {seed for _, seed in left} == {1}
    assert [c.stages for c, _ in left] == ["A", *["B"] * 4, *["AB"] * 4]
    source = ListSource(plan.jobs, ledger)
    handed_out = [source.next() for _ in range(5)]
    assert [job.configuration.stages for job in handed_out] == ["A", "B", "B", "B", "B"]
    assert source.next() == "wait"  # for the stage-A run of the new seed
    assert "9 of 18 runs are done" in describe(plan, ledger)


def test_a_ninth_row_is_one_run_more(settings, done):
    ledger, more = read_ledger(settings.sweep_folder), [*rows(settings), rows(settings, 5)[-1]]
    assert make_plan(more, (0,)).left(ledger) == [(more[-1], 0)]


def test_another_batch_size_has_a_stage_a_of_its_own(settings, done):
    more = settings.model_copy(update={"batch_sizes": (40, 20)})
    left = make_plan(rows(more), (0,)).left(read_ledger(settings.sweep_folder))
    assert len(left) == 9
    assert {c.batch_size for c, _ in left} == {20}


def test_what_is_not_asked_for_any_more_stays_in_view(settings, done):
    ledger = read_ledger(settings.sweep_folder)
    asked = rows(settings)[:1]
    others = also_done(ledger, asked)
    assert {config_hash(c) for c in others} == {config_hash(c) for c in rows(settings)[1:]}
    assert also_done(ledger, rows(settings)) == []
    assert len(done_configurations(ledger)) == 9  # with stage A


def test_a_checkpoint_that_does_not_say_what_it_is_of_is_left_out(settings, done):
    place = seed_folder(settings.sweep_folder, rows(settings)[2], 0)
    (place / "checkpoint" / "config.json").write_text("{}")
    others = also_done(read_ledger(settings.sweep_folder), rows(settings)[:2])
    assert {config_hash(c) for c in others} == {config_hash(c) for c in rows(settings)[3:]}


def test_varied_settings_grow_too(settings, done):
    more = settings.model_copy(update={"vary": ("optimiser_b.weight_decay=0.01,0.1",)})
    grown = expand(rows(settings), more.variations())
    assert len(grown) == 16
    assert len(make_plan(grown, (0,)).left(read_ledger(settings.sweep_folder))) == 8
