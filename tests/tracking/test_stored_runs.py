"""What `benchmarks/scale.py` resumes and reports is what a sweep leaves: `benchmarks/stored_runs.py`."""

from pathlib import Path

import pytest

from benchmarks.stand_in import scores_of
from benchmarks.stored_runs import log_finished
from tclap.config import LossCoefficients, config_hash
from tclap.flags import SweepSettings
from tclap.tracking.read import existing_store


def test_a_finished_run_for_each_configuration(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = SweepSettings(data=root, storage=tmp_path, name="many", _cli_parse_args=False)
    three = [settings.configuration("B", LossCoefficients(alpha_st=value), 4) for value in (0.0, 0.5, 1.0)]
    ids = log_finished(settings, three, scores_of(three[0]))
    client, experiment_id, _ = existing_store(tmp_path)
    runs = {run.info.run_id: run for run in client.search_runs([experiment_id], "tags.kind = 'trial'")}
    assert runs.keys() == set(ids)
    assert [runs[run_id].data.tags["config_hash"] for run_id in ids] == list(map(config_hash, three))
    assert {run.data.metrics["zste/1"] for run in runs.values()} == {scores_of(three[0])["1"].value}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
