"""Which trials of another sweep a search is told: those at its points with the same settings, on the same sound."""

from pathlib import Path

import pytest

from tclap.config import LossCoefficients
from tclap.errors import InputError
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS, ORDER
from tclap.lanes.search import _warm_trials
from tclap.lanes.start import Start
from tclap.places import seed_folder
from tclap.search_flags import SearchSettings
from tclap.sweep.claim import claim_name
from tclap.sweep.ledger import Ledger, Result, write_result
from tclap.sweep.plan import make_plan
from tclap.training import checkpoint


def settings(storage: Path, *flags: str) -> SearchSettings:
    return SearchSettings(_cli_parse_args=["--storage", str(storage), "--warm-start", "table4", *flags])


@pytest.fixture
def table4(tmp_path: Path, mini) -> Path:
    """B with α_st 0 (two seeds, 40 and 50), 1 (one seed, 80), 0.5, and 1 after 7 steps, which was stopped early."""
    sweep, base = tmp_path / "table4", settings(tmp_path)
    claim_name(sweep, {"dataset": "sound"})
    rows = [base.configuration("B", LossCoefficients(alpha_st=alpha), 40) for alpha in (0, 1, 0.5)]
    early = base.configuration("AB", LossCoefficients(alpha_st=1), 40)
    done = [(rows[0], 0, 40, None), (rows[0], 1, 50, None), (rows[1], 0, 80, None), (rows[2], 0, 60, None)]
    for configuration, seed, value, stopped_at in (*done, (early, 0, 99, 7)):
        place = seed_folder(sweep, configuration, seed)
        checkpoint.save(place / "checkpoint", mini, {"configuration": configuration.model_dump(mode="json")})
        scores = {name: Score(float(value), 0, 100, 9, 50) for name in (*COLUMNS, *EXTRA_COLUMNS, *ORDER)}
        job = make_plan([configuration], (0,)).jobs[-1]
        write_result(place, Result(job.hash, seed, scores, 1.0, 3, "here", stopped_at=stopped_at))
    return sweep


def told(of: SearchSettings, digest: str = "sound") -> dict[float, list[float]]:
    """α_st -> objectives."""
    start = Start(of, Path("data"), digest, Ledger(of.sweep_folder))
    return {point["alpha_st"]: values for point, values in _warm_trials(of, start)}


def test_finished_points_of_the_space_are_told_as_means_over_their_own_seeds(table4: Path) -> None:
    assert told(settings(table4.parent)) == {0: [45.0, 45.0], 1: [80.0, 80.0]}
    assert told(settings(table4.parent, "--any-alpha")) == {0: [45.0, 45.0], 1: [80.0, 80.0], 0.5: [60.0, 60.0]}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--warm-start", "none"), "there is no other sweep of that name"),
        (("--name", "table4"), "there is no other sweep of that name"),
        (("--steps-b", "7"), "none of its finished configurations is a point of this search"),
    ],
)
def test_what_cannot_help_is_refused(table4: Path, flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        told(settings(table4.parent, *flags))


def test_scores_of_other_sound_are_refused(table4: Path) -> None:
    with pytest.raises(InputError, match="it heard another dataset"):
        told(settings(table4.parent), "other sound")


def test_a_damaged_sweep_is_refused_in_one_line(table4: Path) -> None:
    for content in ("[]", "{"):
        (table4 / "sweep.json").write_text(content)
        with pytest.raises(InputError, match=r"table4/sweep\.json is damaged") as refused:
            told(settings(table4.parent))
        assert "\n" not in str(refused.value)
