"""What `tclap best` says of a winner that is tied, or has one seed."""

from tclap.commands.choosing import _rank
from tclap.config import Configuration, LossCoefficients, OptimiserSettings, config_hash
from tclap.console import console
from tclap.tracking.read import SweepRecord, Trial

METRIC = "zste/order"


def row(alpha: float) -> Configuration:
    return Configuration(
        stages="B", batch_size=8, coefficients=LossCoefficients(alpha_st=alpha), optimiser_b=OptimiserSettings()
    )


def said(values: dict[float, list[float]]) -> str:
    """values: α_st -> the metric of seeds 0, 1, ..."""
    trials = [
        Trial(f"run-{alpha}-{seed}", row(alpha), seed, {METRIC: value, "zste/1": 50.0})
        for alpha, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]
    with console.capture() as captured:
        _rank(SweepRecord("s", "parent", {}, {}, "table4", (), tuple(trials)), METRIC, ())
    return " ".join(captured.get().split())


def test_a_tie_is_said_with_who_else_has_that_score_and_so_is_a_single_seed() -> None:
    text = said({0: [40.0], 1: [90.0], 0.5: [90.0]})
    assert f"winner: {config_hash(row(1))} B α 1 1 1 1 β 1 batch 8, {METRIC} 90.0, one seed, tied with 1 other" in text
    assert f"note: {config_hash(row(0.5))} has the same {METRIC}; the winner is the one that stands first" in text
    assert "note: one seed, so nothing says how much of a difference is chance" in text


def test_a_clear_winner_of_several_seeds_has_no_note() -> None:
    text = said({0: [40.0, 41.0, 40.0], 1: [90.0, 91.0, 92.0]})
    assert f"{METRIC} 91.0 ± 2.5" in text
    assert "note:" not in text
    assert "understates how much results vary" in text
