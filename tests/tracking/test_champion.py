"""Who is the champion, and who may take its place; the versions are entries of the registry without files."""

import re

import pytest
from mlflow import MlflowClient

from tclap.commands.choosing import _choose_champion
from tclap.console import console
from tclap.tracking import champion
from tclap.tracking import runs as tracking

METRIC = "zste/order"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    folder = tmp_path_factory.mktemp("registry")
    client, experiment = tracking.connect(f"sqlite:///{folder / 'mlflow.db'}", folder)
    client.create_registered_model(champion.MODEL)
    versions = (
        ("good", 97.6, "a", 4),
        ("worse", 60.0, "a", 4),
        ("elsewhere", 99.0, "b", 4),
        ("other-fold", 99.0, "a", 3),
    )
    for sweep, value, digest, fold in versions:
        parent = client.create_run(experiment, tags={"dataset_digest": digest})
        run = client.create_run(experiment, tags={"mlflow.parentRunId": parent.info.run_id})
        client.log_param(run.info.run_id, "data.eval_folds", [fold])
        client.log_metric(run.info.run_id, METRIC, value)
        client.log_metric(run.info.run_id, "zste_test/order", value - 1)
        client.create_model_version(champion.MODEL, "file:///nowhere", run.info.run_id, tags={"sweep": sweep})
    return client


def said(client: MlflowClient, number: str, promoted: bool = False) -> str:
    with console.capture() as captured:
        _choose_champion(client, number, METRIC, promoted)
    return " ".join(captured.get().split())


def test_the_first_is_the_champion_until_another_is_promoted(client: MlflowClient) -> None:
    assert champion.champion_now(client) is None
    assert said(client, "1") == "champion: version 1, the first one"
    assert said(client, "1") == "champion: version 1, as before"

    kept = said(client, "2")
    assert champion.champion_now(client) == "1"
    good = "version 1 of sweep good, zste/order 97.6 on the evaluation folds and 96.6 on the test folds"
    worse = "version 2 of sweep worse, zste/order 60.0 on the evaluation folds and 59.0 on the test folds"
    assert kept == f"champion: still {good}; this is {worse} (--promote puts it in its place)"

    assert said(client, "2", promoted=True) == f"champion: {worse}; it was {good}"
    assert champion.champion_now(client) == "2"


@pytest.mark.parametrize("number", ["3", "4"], ids=["dataset", "fold"])
def test_scores_on_other_items_are_not_compared_in_silence(client: MlflowClient, number: str) -> None:
    champion.promote(client, "1")
    assert "were not scored on the same items" not in said(client, "2")
    assert "were not scored on the same items" in said(client, number, promoted=True)
    assert champion.champion_now(client) == number


def test_a_version_without_that_metric_still_stands_with_its_name(client: MlflowClient) -> None:
    assert str(champion.standing(client, "2", "zste/none")) == "version 2 of sweep worse, zste/none unknown"


@pytest.mark.parametrize(
    ("sweep", "alias"),
    [
        ("table4", "table4"),
        ("v2", "sweep-v2"),
        ("latest", "sweep-latest"),
        ("Champion", "sweep-Champion"),
        ("a.b", "a-b"),
    ],
)
def test_every_name_of_a_sweep_gives_an_alias_that_mlflow_takes(client: MlflowClient, sweep: str, alias: str) -> None:
    assert champion.alias_of(client, sweep) == alias
    client.set_registered_model_alias(champion.MODEL, alias, "1")
    assert str(client.get_model_version_by_alias(champion.MODEL, alias).version) == "1"
    client.delete_registered_model_alias(champion.MODEL, alias)


def test_two_sweeps_never_share_an_alias(client: MlflowClient) -> None:
    client.set_registered_model_alias(champion.MODEL, "worse", "2")  # of the sweep "worse"
    assert champion.alias_of(client, "worse") == "worse"
    client.set_registered_model_alias(champion.MODEL, "a-b", "2")
    for sweep in ("a.b", "a-b"):
        assert re.fullmatch(r"a-b-[0-9a-f]{6}", champion.alias_of(client, sweep))
    assert champion.alias_of(client, "a.b") != champion.alias_of(client, "a-b")
