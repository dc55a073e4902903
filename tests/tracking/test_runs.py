"""A sweep's name in an MLflow that others share."""

import pytest

from tclap.errors import InputError
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
