"""A storage folder that was written before timing and lanes (`before_timing/`, a real sweep's) still serves."""

import json
import shutil
from pathlib import Path

import pytest

from tclap.config import LossCoefficients
from tclap.errors import InputError
from tclap.flags import SweepSettings
from tclap.sweep.claim import claim_name
from tclap.sweep.ledger import read_ledger
from tclap.sweep.plan import make_plan

OLD = Path(__file__).parent / "before_timing"


def settings(**changed: object) -> SweepSettings:
    """What that sweep ran: the defaults of its time."""
    values: dict[str, object] = {"timing": "midpoint", "steps_b": 150, "seeds": (0,), **changed}
    return SweepSettings(**values, _cli_parse_args=False)


def identity(of: SweepSettings) -> dict[str, object]:
    claimed = json.loads((OLD / "sweep.json").read_text(encoding="utf-8"))
    return {**of.identity(), "dataset": claimed["dataset"]}


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "default"))


def test_every_result_of_before_is_found_and_nothing_is_left_to_do() -> None:
    of = settings()
    ledger = read_ledger(OLD)
    coefficients = [
        LossCoefficients(alpha_st=x, alpha_ct=y, alpha_so=x, alpha_co=y, beta=1)
        for x, y in ((0, 0), (1, 0), (0, 1), (1, 1))
    ]
    table4 = [of.configuration(stages, c, of.batch_sizes[0]) for stages in ("B", "AB") for c in coefficients]
    plan = make_plan(table4, of.seeds)
    assert {hash for hash, _ in ledger.results} == {job.hash for job in plan.jobs}
    assert plan.left(ledger) == []


def test_the_name_of_before_goes_on_with_the_settings_of_before(storage: Path) -> None:
    of = settings()
    claim_name(storage, identity(of), of.meant_before(), of.may_grow)
    assert (storage / "sweep.json").read_bytes() == (OLD / "sweep.json").read_bytes()


def test_the_defaults_of_today_are_refused_in_one_line_that_names_what_moved(storage: Path) -> None:
    of = SweepSettings(_cli_parse_args=False)
    with pytest.raises(InputError) as refused:
        claim_name(storage, identity(of), of.meant_before(), of.may_grow)
    message = str(refused.value)
    assert "\n" not in message
    assert "timing was midpoint, now drawn" in message
    assert "steps_b was 150, now 450" in message
    assert message.count(" was ") == 2, message
