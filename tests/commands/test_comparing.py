"""What `tclap compare` says beside its table."""

import pytest

from tclap.commands.comparing import Compare
from tclap.config import Configuration, LossCoefficients, OptimiserSettings
from tclap.console import console
from tclap.tracking import read
from tclap.tracking.read import SweepRecord, Trial

METRIC = "zste/order"
ANEW = "The seeds draw composites and batches anew, and mini's base."
BATCHES = "The seeds draw only the order of batches anew, which understates how much results vary (--vary-draws)."


def sweep(name: str, vary_draws: bool) -> SweepRecord:
    configuration = Configuration(
        stages="B",
        batch_size=8,
        coefficients=LossCoefficients(),
        optimiser_b=OptimiserSettings(),
        vary_draws=vary_draws,
    )
    trials = tuple(Trial(f"run-{seed}", configuration, seed, {METRIC: 50.0 + seed}) for seed in (0, 1))
    return SweepRecord(name, "parent", {}, {}, "table4", (), trials)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [(True, True, [ANEW]), (False, False, [BATCHES]), (True, False, [f"one: {ANEW}", f"two: {BATCHES}"])],
)
def test_what_the_seeds_draw_is_said_of_each_sweep_where_it_differs(
    monkeypatch: pytest.MonkeyPatch, first: bool, second: bool, said: list[str]
) -> None:
    sweeps = {"one": sweep("one", first), "two": sweep("two", second)}
    monkeypatch.setattr(read, "existing_store", lambda storage: (None, "1", "sqlite:///mlflow.db"))
    monkeypatch.setattr(read, "read_sweep", lambda client, experiment_id, name: sweeps[name])
    with console.capture() as captured:
        Compare(first="one", second="two", metric=METRIC).cli_cmd()
    assert captured.get().splitlines()[-len(said) :] == said
    assert captured.get().count("The seeds draw") == len(said)
