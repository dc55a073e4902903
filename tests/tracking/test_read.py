import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tclap.config import config_hash, from_record
from tclap.errors import InputError
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS
from tclap.report.tables import ORDER, SHOWN, result_frame, write_tables
from tclap.sweep.ledger import Result
from tclap.tracking import runs as tracking
from tclap.tracking.artifacts import read_score_facts
from tclap.tracking.read import existing_store, nested, read_sweep
from tests.tracking.conftest import CONFIGURATIONS, NAME, SEEDS, Store


def test_only_finished_trials_in_the_order_of_the_table(store: Store) -> None:
    sweep = read_sweep(store.client, store.experiment_id, NAME)
    assert sweep.run_id == store.parent_id
    assert [(t.config_hash, t.seed) for t in sweep.trials] == [
        (config_hash(c), seed) for c in CONFIGURATIONS for seed in SEEDS
    ]
    assert [t.configuration for t in sweep.trials[::2]] == CONFIGURATIONS
    assert {(t.config_hash, t.seed): t.run_id for t in sweep.trials} == store.run_ids
    assert set(sweep.tags) >= {"data", "dataset_digest"}


def test_lists_of_texts_are_read_as_they_were_logged() -> None:
    """Parameters are Python's own text of a value; a prompt may hold either quote."""
    prompts = ("it's {}", 'a "{}"')
    configuration = CONFIGURATIONS[0].model_copy(
        update={"data": CONFIGURATIONS[0].data.model_copy(update={"prompts": prompts})}
    )
    params = tracking.flatten(configuration.model_dump(mode="json", exclude_none=True))
    again = from_record(nested({name: str(value) for name, value in params.items()}))
    assert again.data.prompts == prompts
    assert config_hash(again) == config_hash(configuration)


def test_rebuilt_table_is_the_sweeps_own_to_the_last_digit(store: Store, tmp_path: Path) -> None:
    sweep = read_sweep(store.client, store.experiment_id, NAME)
    files = write_tables(sweep.frame(), tmp_path / "table4", "", sweep.about(store.client), sweep.links())
    for ours, theirs in zip(files, store.files, strict=True):
        assert ours.read_bytes() == theirs.read_bytes(), ours.name
    assert len(pd.read_csv(store.files[0])) == 4


def test_with_one_seed_the_intervals_over_recordings_are_rebuilt_too(store: Store, tmp_path: Path) -> None:
    whole = read_sweep(store.client, store.experiment_id, NAME)
    sweep = replace(whole, trials=tuple(trial for trial in whole.trials if trial.seed == 0))
    results = {
        (t.config_hash, 0): Result(
            *(t.config_hash, 0, read_score_facts(store.client, t.run_id)), 1.0, 3, "here", t.run_id
        )
        for t in sweep.trials
    }
    pd.testing.assert_frame_equal(sweep.frame(), result_frame(CONFIGURATIONS, results), check_exact=True)
    *_, tex, _ = write_tables(sweep.frame(), tmp_path / "t", "", sweep.about(store.client), sweep.links())
    columns = {*SHOWN, *ORDER} - {"order", "order/unseen"}  # a mean has no interval, and nothing was held out
    assert tex.read_text().count(r"{\scriptsize [") == len(CONFIGURATIONS) * len(columns)


def test_frame_has_every_metric(store: Store) -> None:
    frame = read_sweep(store.client, store.experiment_id, NAME).frame()
    assert set(frame.columns) >= {*COLUMNS, *EXTRA_COLUMNS, "mean", "temporal", "config_hash"}
    assert not frame.isna().any(axis=None)


def test_pages_of_results_are_all_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_sweep(store.client, store.experiment_id, NAME)
    search = store.client.search_runs
    calls = []

    def one_at_a_time(experiments: list[str], query: str, *view: int, **options: object) -> object:
        calls.append(query)
        return search(experiments, query, *view, max_results=1, **options)

    monkeypatch.setattr(store.client, "search_runs", one_at_a_time)
    assert read_sweep(store.client, store.experiment_id, NAME) == whole
    assert len(calls) >= 2 + 4


def test_without_the_list_of_rows_a_killed_sweep_is_still_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.client, "list_artifacts", lambda run_id: [])
    sweep = read_sweep(store.client, store.experiment_id, NAME)
    assert sweep.table == "table"
    assert [t.seed for t in sweep.trials] == [0, 1, 0, 1]  # by start


def test_unknown_and_empty_sweeps_are_refused(store: Store) -> None:
    with pytest.raises(InputError, match="no sweep 'smal' in MLflow; there are: other, small"):
        read_sweep(store.client, store.experiment_id, "smal")
    with pytest.raises(InputError, match="nothing of sweep 'other' is done yet"):
        read_sweep(store.client, store.experiment_id, "other")


def test_parameters_that_do_not_make_the_hash_are_refused(store: Store, tmp_path: Path) -> None:
    """In a store of its own, with a run that says another hash."""
    uri = f"sqlite:///{shutil.copy(store.storage / 'mlflow.db', tmp_path / 'mlflow.db')}"
    client, experiment_id = tracking.connect(uri, tmp_path)
    client.set_tag(next(iter(store.run_ids.values())), "config_hash", "0123")
    with pytest.raises(InputError, match="says config_hash 0123"):
        read_sweep(client, experiment_id, NAME)


def test_a_store_that_is_not_there_is_named_and_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match=f"no MLflow store at sqlite:///{tmp_path}"):
        existing_store(tmp_path)
    assert not list(tmp_path.iterdir())
