from pathlib import Path

import pytest
from pydantic import ValidationError

from tclap.config import Configuration, DataSettings, LossCoefficients, OptimiserSettings, StageASettings, config_hash
from tclap.errors import InputError
from tclap.flags import SweepSettings
from tclap.presets import described, released
from tclap.training.stage import learning_rate


def test_released_is_the_papers_set_in_its_epochs() -> None:
    """ESC-50: 1225 pairs, 2 takes: 2450 samples an epoch, 77 steps at 32 pairs."""
    configuration = Configuration(
        stages="AB",
        batch_size=32,
        data=DataSettings(takes=2),
        coefficients=LossCoefficients(alpha_st=0),
        stage_a=StageASettings(),
        optimiser_a=OptimiserSettings(),
        optimiser_b=OptimiserSettings(),
    )
    found = released(configuration, pairs=1225)
    assert found.coefficients == LossCoefficients(alpha_st=0, row_o="alpha")
    assert found.data == DataSettings(takes=2, timing="midpoint", prompts=("this is a sound of {}",))
    assert found.optimiser_a is not None
    assert found.optimiser_b is not None
    assert (found.optimiser_a.steps, found.optimiser_b.steps) == (20 * 77, 10 * 77)
    assert learning_rate(0, found.optimiser_b) == pytest.approx(1e-3)
    assert learning_rate(77, found.optimiser_b) == pytest.approx(0.95e-3)
    assert learning_rate(769, found.optimiser_b) == pytest.approx(1e-3 * 0.95**9)
    assert Configuration.model_validate_json(found.model_dump_json()) == found
    assert config_hash(found) != config_hash(configuration)


def test_released_b_has_no_stage_a() -> None:
    b = Configuration(stages="B", batch_size=40, coefficients=LossCoefficients(), optimiser_b=OptimiserSettings())
    found = released(b, pairs=45)
    assert found.optimiser_a is None
    assert found.optimiser_b is not None
    assert found.optimiser_b.steps == 10 * 45


def test_a_sweep_takes_the_preset_from_its_dataset(root: Path) -> None:
    settings = SweepSettings(preset="released", data=root, model="mini", holdout_classes=1)
    assert settings.batch_sizes == (32,)
    coefficients = LossCoefficients(alpha_so=0)
    found = settings.configuration("AB", coefficients, 5)
    plain = SweepSettings(data=root, model="mini", holdout_classes=1, takes=2).configuration("AB", coefficients, 5)
    # Five of the six classes are trained on: 10 pairs, 2 takes, 20 samples, 4 steps of 5.
    assert found == released(plain, pairs=10)
    assert "of 4 steps at batch 5" in described(found)
    with pytest.raises(InputError, match="an epoch is as long as"):
        SweepSettings(preset="released", data=root / "none").configuration("B", coefficients, 9)
    with pytest.raises(ValidationError, match="leave out --lr, --steps-b"):
        SweepSettings(preset="released", lr=0.1, steps_b=3)


def test_a_name_tells_the_preset_from_its_flags() -> None:
    flags = {"timing": "midpoint", "prompts": ("this is a sound of {}",), "row_o": "alpha", "model": "mini"}
    released_sweep = SweepSettings(preset="released", model="mini").identity()
    assert released_sweep["preset"] == "released"
    assert "preset" not in SweepSettings(**flags).identity()
    assert "preset" not in SweepSettings(preset="paper").identity()
