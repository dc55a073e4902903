"""Two sweeps paired by what varies within them."""

import numpy as np
import pytest
from scipy import stats

from tclap.config import Configuration, DataSettings, LossCoefficients, OptimiserSettings
from tclap.errors import InputError
from tclap.report.comparison import compare

METRIC = "zste/order"


def row(alpha: float, timing: str = "drawn", lr: float = 1e-3) -> Configuration:
    return Configuration(
        stages="B",
        batch_size=8,
        data=DataSettings(timing=timing),
        coefficients=LossCoefficients(alpha_st=alpha),
        optimiser_b=OptimiserSettings(lr=lr),
    )


def scored(configuration, values):
    return [(configuration, seed, {METRIC: value}) for seed, value in values.items()]


def test_the_same_row_under_another_timing_is_one_pair_over_the_seeds_of_both():
    one = [*scored(row(0), {0: 30.0, 1: 31.0, 2: 35.0}), *scored(row(1), {0: 90.0, 1: 92.0})]
    other = [
        *scored(row(1, "midpoint"), {1: 50.0, 0: 54.0, 7: 1.0}),
        *scored(row(0, "midpoint"), {0: 33.0, 1: 33.0, 2: 36.0}),
        *scored(row(0.5, "midpoint"), {0: 70.0}),
    ]
    found = compare(one, other, METRIC)
    assert found.differences == ("data.timing: drawn, midpoint",)
    assert found.alone == (0, 1)
    first, second = found.rows.to_dict("records")
    assert first["configuration"].startswith("B  α 0 1 1 1")
    assert (first["seeds"], first["first"], first["second"], first["difference"]) == (3, 32.0, 34.0, 2.0)
    low, high = stats.t.interval(0.95, 2, loc=2.0, scale=stats.sem([3.0, 2.0, 1.0]))
    assert (first["low"], first["high"]) == pytest.approx((low, high))
    tests = [stats.ttest_rel([33, 33, 36], [30, 31, 35]).pvalue, stats.ttest_rel([54, 50], [90, 92]).pvalue]
    assert (second["seeds"], second["difference"]) == (2, -39.0)
    assert sorted([first["p"], second["p"]]) == pytest.approx([min(1, 2 * min(tests)), max(2 * min(tests), max(tests))])


def test_what_varies_within_one_of_them_tells_its_configurations_apart():
    """Of two learning rates only the one that the other sweep has is a pair; nothing is averaged over both."""
    one = [*scored(row(1, lr=1e-3), {0: 60.0}), *scored(row(1, lr=1e-2), {0: 10.0})]
    found = compare(one, scored(row(1, "midpoint", lr=1e-3), {0: 61.0}), METRIC)
    assert found.rows["first"].tolist() == [60.0]
    assert "optimiser_b.lr 0.001" in found.rows["configuration"].iloc[0]
    assert found.alone == (1, 0)
    assert np.isnan(found.rows[["low", "high", "p"]].to_numpy(float)).all()


def test_the_same_configurations_on_other_data_have_no_setting_that_differs():
    found = compare(scored(row(1), {0: 60.0, 1: 62.0}), scored(row(1), {0: 50.0, 1: 52.0}), METRIC)
    assert found.differences == ()
    assert found.rows["difference"].tolist() == [-10.0]
    assert np.isnan(found.rows[["low", "high", "p"]].to_numpy(float)).all()  # differences that do not vary have no test


@pytest.mark.parametrize(
    "other", [scored(row(0), {5: 1.0}), [(row(1), 0, {"zste/1": 1.0})], scored(row(0.25), {0: 1.0})]
)
def test_nothing_in_common_is_one_line(other):
    one = [*scored(row(1), {0: 60.0}), *scored(row(0), {0: 60.0})]
    with pytest.raises(InputError, match="no configuration and seed has zste/order in both sweeps"):
        compare(one, other, METRIC)
