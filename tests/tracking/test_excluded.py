"""A configuration that is excluded stays in MLflow, and neither table nor ranking has it."""

import json
from pathlib import Path

from tclap.config import config_hash
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS, ORDER
from tclap.places import checkpoint_folder
from tclap.sweep import steering
from tclap.sweep.claim import claim_name
from tclap.sweep.ledger import Result, write_result
from tclap.tracking import runs as tracking
from tclap.tracking.page import VIEW_TAG, set_up_experiment
from tclap.tracking.read import read_sweep
from tclap.training import checkpoint
from tests.helpers import tclap
from tests.tracking.conftest import configuration

GOOD, BAD = configuration(3, 1.0), configuration(3, 0.0)
WHY = "a clip of class rain was mislabelled"


def test_excluding_and_taking_in_again(tmp_path: Path, mini, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client, experiment = tracking.connect(tracking.tracking_uri(tmp_path), tmp_path)
    claim_name(tmp_path / "s", {"lr": 1})
    parent = tracking.sweep_run(client, experiment, "s", {}, tmp_path, "digest")
    for config, value in ((GOOD, 60.0), (BAD, 90.0)):
        run_id = tracking.child_run(client, experiment, "s", parent, config, 0, None)
        place = checkpoint_folder(tmp_path / "s", config, 0)
        checkpoint.save(place, mini, {"configuration": config.model_dump(mode="json"), "seed": 0})
        scores = {name: Score(value, 40.0, 99.0, 9, 50.0) for name in (*COLUMNS, *EXTRA_COLUMNS, *ORDER)}
        tracking.finish(client, run_id, scores, place, {"train_s": 1.5}, 3)
        write_result(place.parent, Result(config_hash(config), 0, scores, 1.5, 3, "there", run_id))

    def ranked() -> set[str]:
        return {trial.config_hash for trial in read_sweep(client, experiment, "s").trials}

    link = set_up_experiment(client, experiment, "s", "zste/1", ["zste/1"])

    def seen() -> set[str]:
        """What the leaderboard in MLflow shows."""
        (view,) = (json.loads(v) for k, v in client.get_experiment(experiment).tags.items() if k.startswith(VIEW_TAG))
        return {run.data.tags["config_hash"] for run in client.search_runs([experiment], view["searchFilter"])}

    name = config_hash(BAD)
    assert seen() == {config_hash(GOOD), name}
    assert ranked() == {config_hash(GOOD), name}
    said = tclap("exclude", "s", name[:5], "--why", WHY, "--storage", tmp_path)
    assert f"excluded: {name}" in said
    assert "1 runs in MLflow" in said
    assert steering.excluded(tmp_path / "s") == {name: WHY}
    assert ranked() == seen() == {config_hash(GOOD)}
    assert set_up_experiment(client, experiment, "s", "zste/1", ["zste/1"], some_excluded=True) == link
    assert seen() == {config_hash(GOOD)}
    runs = tracking.find_runs(client, experiment, {"sweep": "s", "config_hash": name})
    assert [(run.data.tags["excluded"], run.info.status) for run in runs] == [(WHY, "FINISHED")]
    assert WHY in tclap("runs", "s", "--storage", tmp_path)

    tclap("exclude", "s", name, "--undo", "--storage", tmp_path)
    assert ranked() == seen() == {config_hash(GOOD), name}
    assert steering.excluded(tmp_path / "s") == {}
    printed = tclap("compare", "s", "s", "--storage", tmp_path)
    assert "no setting differs between them" in printed
    assert "+0.0" in printed
