"""The runs of a list of models that are scored: the same model of another list, and one that failed before."""

from pathlib import Path

import pytest

from benchmarks.stand_in import scores_of
from tclap.config import Configuration, OptimiserSettings, StageASettings
from tclap.tracking import runs as tracking
from tclap.tracking.scored_models import log_model, open_list


def test_a_run_that_is_found_again_belongs_to_the_list_of_now_and_has_no_problem_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client, experiment = tracking.connect(tracking.tracking_uri(tmp_path), tmp_path)

    def log(models: str, problem: str | None) -> tuple[str, dict[str, str], str]:
        """The parent's id, tags and status of mini's run."""
        parent = open_list(client, experiment, "list", {"models": models})
        scores = (
            {}
            if problem
            else scores_of(
                Configuration(stages="A", batch_size=4, stage_a=StageASettings(), optimiser_a=OptimiserSettings())
            )
        )
        run = client.get_run(log_model(client, experiment, "list", parent, "mini", {}, scores, problem))
        return parent, run.data.tags, run.info.status

    one, tags, status = log("mini", "no weights")
    assert (tags["mlflow.parentRunId"], tags["problem"], status) == (one, "no weights", "FAILED")
    two, tags, status = log("mini,laion", None)
    assert two != one
    assert (tags["mlflow.parentRunId"], status) == (two, "FINISHED")
    assert "problem" not in tags
    runs = client.search_runs([experiment], "tags.kind = 'scored_model'")
    assert len(runs) == 1
