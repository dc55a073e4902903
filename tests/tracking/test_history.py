from pathlib import Path

import pytest

from tclap.report.curves import band, history_frame
from tclap.tracking import runs as tracking
from tclap.tracking.history import read_history


def test_what_was_logged_by_step_comes_back_as_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client, experiment_id = tracking.connect(tracking.tracking_uri(tmp_path), tmp_path)
    run_id = client.create_run(experiment_id).info.run_id
    for step, value, at_ms in ((50, 40.0, 1000), (25, 30.0, 900), (50, 41.0, 2000)):
        client.log_metric(run_id, "zste/1", value, timestamp=at_ms, step=step)
    client.log_metric(run_id, "train/loss", 3.0, timestamp=1000, step=25)
    history = read_history(client, run_id, ["zste/1", "train/loss", "zste/never"])
    assert history == [(25, {"zste/1": 30.0, "train/loss": 3.0}), (50, {"zste/1": 41.0})]
    assert band(history_frame({("a", 0): history}), "zste/1")["mean"].tolist() == [30.0, 41.0]
