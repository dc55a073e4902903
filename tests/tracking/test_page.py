"""What MLflow shows at first sight, on real SQLite stores; each function is called twice, as a retry would."""

import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from mlflow import MlflowClient

from tclap.axes import find_axis
from tclap.evaluation.statistics import Score
from tclap.tracking import page
from tclap.tracking import runs as tracking
from tclap.tracking.artifacts import log_score_facts, read_class_names, read_score_facts


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[MlflowClient, str, str]:
    """Client, experiment and a run."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client, experiment_id = tracking.connect(tracking.tracking_uri(tmp_path), tmp_path)
    return client, experiment_id, client.create_run(experiment_id, tags={"sweep": "s", "kind": "trial"}).info.run_id


def test_the_link_names_a_view_of_the_sweep(client: tuple[MlflowClient, str, str]) -> None:
    store, experiment_id, _ = client
    columns = page.leaderboard_columns(["zste/temporal", "zste/1"], [find_axis("alpha_st"), find_axis("lr")])
    assert columns == ["zste/temporal", "zste/1", "coefficients.alpha_st", "optimiser_b.lr", "seed"]
    first = page.set_up_experiment(store, experiment_id, "s", "zste/temporal", columns[:1])
    link = page.set_up_experiment(store, experiment_id, "s", "zste/temporal", columns)
    assert link == first
    route, _, query = link.partition("?")
    assert route == f"#/experiments/{experiment_id}/runs"
    (key,) = parse_qs(query)["viewStateShareKey"]
    assert query == f"viewStateShareKey={key}&workflowType=machine_learning"
    tags = store.get_experiment(experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    state = json.loads(tags[f"mlflow.sharedViewState.{key}"])
    assert state["orderByKey"] == "metrics.`zste/temporal`"
    assert state["orderByAsc"] is False
    assert state["selectedColumns"][1:] == [
        *("metrics.`zste/temporal`", "metrics.`zste/1`"),
        *("params.`coefficients.alpha_st`", "params.`optimiser_b.lr`", "params.`seed`"),
    ]
    (run,) = store.search_runs([experiment_id], state["searchFilter"])
    assert run.data.tags["sweep"] == "s"
    other = page.set_up_experiment(store, experiment_id, "t", "zste/temporal", columns)
    assert other != link


def test_a_note_that_is_too_long_is_cut_at_a_line(client: tuple[MlflowClient, str, str]) -> None:
    store, _, run_id = client
    page.write_note(store, run_id, "# Sweep\n")
    assert store.get_run(run_id).data.tags["mlflow.note.content"] == "# Sweep\n"
    page.write_note(store, run_id, "| a row of the table |\n" * 1000)
    note = store.get_run(run_id).data.tags["mlflow.note.content"]
    assert len(note) <= page.MOST_NOTE
    rows, _, rest = note.partition("\n\n…")
    assert set(rows.split("\n")) == {"| a row of the table |"}
    assert "among the artifacts" in rest


def test_what_stands_under_a_notes_first_paragraph_is_replaced(client: tuple[MlflowClient, str, str]) -> None:
    store, _, run_id = client
    page.write_note(store, run_id, "What it is.")
    for markdown in ("| score |\n\na footnote\n", "| other |\n"):
        page.extend_note(store, run_id, markdown)
    assert store.get_run(run_id).data.tags["mlflow.note.content"] == "What it is.\n\n| other |\n"


def test_a_run_without_a_note_gets_one(client: tuple[MlflowClient, str, str]) -> None:
    store, _, run_id = client
    page.extend_note(store, run_id, "| score |\n")
    assert store.get_run(run_id).data.tags["mlflow.note.content"] == "| score |\n"


def test_a_checkpoint_is_a_model_with_the_scores_of_its_step(client: tuple[MlflowClient, str, str]) -> None:
    store, experiment_id, run_id = client
    early = page.log_checkpoint_model(store, run_id, {"zste/1": 40.0}, 50, 1000)
    ids = [page.log_checkpoint_model(store, run_id, {"zste/1": 70.0, "zste/3A": 55.0}, 100, 2000) for _ in range(2)]
    assert ids[0] == ids[1] != early
    models = {model.model_id: model for model in store.search_logged_models([experiment_id])}
    assert set(models) == {early, ids[0]}
    assert {m.key: (m.value, m.step) for m in models[ids[0]].metrics} == {"zste/1": (70.0, 100), "zste/3A": (55.0, 100)}
    assert models[ids[0]].status == "READY"
    assert models[ids[0]].tags["checkpoint"] == f"runs:/{run_id}/checkpoint"
    assert [(m.value, m.step) for m in store.get_metric_history(run_id, "zste/1")] == [(40.0, 50), (70.0, 100)]
    assert {output.model_id for output in store.get_run(run_id).outputs.model_outputs} == {early, ids[0]}


def test_n_and_chance_are_one_artifact(client: tuple[MlflowClient, str, str]) -> None:
    store, _, run_id = client
    assert read_score_facts(store, run_id) == {}
    scores = {"1": Score(70.0, 60.0, 80.0, 90, 10.0), "3A": Score(50.0, 40.0, 60.0, 180, 100 / 3)}
    log_score_facts(store, run_id, scores)
    assert read_score_facts(store, run_id) == scores
    assert store.get_run(run_id).data.metrics == {}


def test_the_parent_carries_the_winners_scores(client: tuple[MlflowClient, str, str]) -> None:
    store, _, run_id = client
    page.log_winner(store, run_id, "B α 0", {"zste/temporal": 50.0}, 1)
    page.log_winner(store, run_id, "B α 1", {"zste/temporal": 60.0}, 3)
    run = store.get_run(run_id)
    assert run.data.metrics == {"zste/temporal": 60.0}
    assert run.data.tags["best"] == "B α 1"
    assert (
        page.run_link("http://h:5000/", "1", "r")
        == "http://h:5000/#/experiments/1/runs/r?workflowType=machine_learning"
    )


def test_a_run_says_which_sounds_it_was_scored_on(client: tuple[MlflowClient, str, str]) -> None:
    store, _, run_id = client
    assert read_class_names(store, run_id) == []
    store.log_text(run_id, 'i,"hum, low",tick\n"hum, low",,90.0\ntick,80.0,\n', "order_by_pair.csv")
    assert read_class_names(store, run_id) == ["hum, low", "tick"]
