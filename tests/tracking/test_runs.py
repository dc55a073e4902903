"""A sweep's name in an MLflow that others share, and the means of a configuration's seeds."""

import pytest

from tclap.errors import InputError
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS, ORDER
from tclap.sweep.ledger import Result
from tclap.tracking import runs as tracking


def test_name_of_another_sweep_is_refused_with_both_settings(tmp_path):
    client, experiment = tracking.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    settings = {"seeds": [0, 1], "lr": 0.1}
    first = tracking.sweep_run(client, experiment, "mine", settings, tmp_path, "digest")
    assert tracking.sweep_run(client, experiment, "mine", settings, tmp_path / "moved", "digest") == first
    with pytest.raises(
        InputError, match=r"mine stands for another sweep in MLflow \(sqlite:.*seeds was \[0, 1\], now \[0\]"
    ):
        tracking.sweep_run(client, experiment, "mine", {**settings, "seeds": [0]}, tmp_path, "digest")
    with pytest.raises(InputError, match="dataset_digest was digest, now other"):
        tracking.sweep_run(client, experiment, "mine", settings, tmp_path, "other")
    assert tracking.sweep_run(client, experiment, "yours", {"seeds": [0]}, tmp_path, "other") != first


def test_what_may_be_another_at_every_start_is_a_tag_and_the_rest_is_compared(tmp_path):
    client, experiment = tracking.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)

    def start(lr, seeds):
        return tracking.sweep_run(client, experiment, "mine", {"lr": lr}, tmp_path, "digest", {"seeds": seeds})

    first = start(0.1, [0])
    assert start(0.1, [0, 1]) == first
    run = client.get_run(first)
    assert run.data.tags["asked.seeds"] == "[0, 1]"
    assert "seeds" not in run.data.params
    with pytest.raises(InputError, match=r"lr was 0.1, now 0.2"):
        start(0.2, [0, 1])
    # A parent of an older version has its seeds among the parameters, which never change.
    old = tracking.sweep_run(client, experiment, "old", {"lr": 0.1, "seeds": [0]}, tmp_path, "digest")
    assert tracking.sweep_run(client, experiment, "old", {"lr": 0.1}, tmp_path, "digest", {"seeds": [0, 1]}) == old


@pytest.mark.parametrize("older", [0, 1])
def test_the_means_over_seeds_are_of_what_all_of_them_have(older):
    """One is a result from before order was scored."""
    results = []
    for seed in (0, 1):
        names = COLUMNS if seed == older else (*COLUMNS, *ORDER)
        scores = {name: Score(10.0 * seed, 0.0, 100.0, 9, 50.0) for name in names}
        results.append(Result("abc", seed, scores, 1.0, 3, "here"))
    means = tracking.mean_metrics(results)
    assert means["zste/1"] == means["zste/temporal"] == 5.0
    assert not [name for name in means if "order/" in name or name == "zste/order"]
    assert means.keys() == tracking.mean_metrics([results[older]]).keys()
