"""What a worker does with a job, in this process: a real dataset, model and MLflow store, and nobody at the mailbox."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tclap.data import dataset as datasets
from tclap.data import layouts
from tclap.lanes import worker
from tclap.lanes.worker import Desk
from tclap.places import seed_folder
from tclap.sweep.job import DONE, Job
from tclap.sweep.ledger import read_details, read_ledger
from tclap.sweep.sweep import Sweep
from tclap.tracking import runs
from tclap.tracking.history import read_history
from tests.tracking.conftest import configuration

CONFIGURATION = configuration(6)


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep that has begun."""
    storage = tmp_path_factory.mktemp("worker")
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    client, experiment = runs.connect(uri, storage)
    digest = datasets.digest(layouts.read_index(root))
    return Sweep(
        name="s",
        folder=str(storage / "s"),
        data=str(root),
        dataset_digest=digest,
        cache=str(storage / "cache"),
        origin=None,
        workers=1,
        gpus_per_worker=0.0,
        chunk=None,
        retrieval={},
        allow_missing=False,
        tracking_uri=uri,
        experiment_id=experiment,
        parent_run_id=runs.sweep_run(client, experiment, "s", {}, root, digest),
    )


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "get_device", lambda: torch.device("cpu"))


def desk(sweep: Sweep) -> Desk:
    unread = SimpleNamespace(remote=lambda *arguments: None)
    return Desk(sweep, SimpleNamespace(say_progress=unread, note=unread), "lane")


def renamed(sweep: Sweep, name: str, **changes: object) -> Sweep:
    """The same under a name of its own, so that nothing of it is done."""
    return Sweep(**{**sweep.__dict__, "name": name, "folder": str(Path(sweep.folder).with_name(name)), **changes})


def test_a_job_with_a_curve_has_the_results_of_one_without_and_its_points_are_logged_once(made: Sweep) -> None:
    job = Job(CONFIGURATION, (0,))
    plain, curved = renamed(made, "plain"), renamed(made, "curved", evaluate_every=2)
    for sweep in (plain, curved):
        assert desk(sweep).do(job)["outcome"] == DONE
    (without,) = read_ledger(Path(plain.folder)).results.values()
    (with_curve,) = read_ledger(Path(curved.folder)).results.values()
    assert with_curve.scores == without.scores
    assert list(with_curve.curve) == [2, 4, 6]
    client = runs.connect(made.tracking_uri, Path(made.folder))[0]
    assert with_curve.run_id is not None
    history = read_history(client, with_curve.run_id, ["zste/1", "order/moved"])
    assert history == [(s, {n: v[n] for n in ("zste/1", "order/moved")}) for s, v in with_curve.curve.items()]
    assert len(client.get_metric_history(with_curve.run_id, "zste/1")) == 3
    metrics = client.get_run(with_curve.run_id).data.metrics
    assert metrics["zste/1"] == with_curve.scores["1"].value
    assert metrics["best/zste/1"] == max(point["zste/1"] for point in with_curve.curve.values())


def test_what_lies_behind_a_result_is_beside_it_and_on_its_run(made: Sweep, root: Path) -> None:
    sweep = renamed(made, "details")
    assert desk(sweep).do(Job(CONFIGURATION, (0,)))["outcome"] == DONE
    (result,) = read_ledger(Path(sweep.folder)).results.values()
    details = read_details(seed_folder(Path(sweep.folder), CONFIGURATION, 0))
    assert details is not None
    assert details.classes == layouts.read_index(root).class_names
    moved = result.scores["order/moved"].value
    assert abs(details.pairs().mean(axis=None) - moved) < 5  # pairs are asked equally often, to within one
    client = runs.connect(made.tracking_uri, Path(made.folder))[0]
    assert result.run_id is not None
    files = {file.path for file in client.list_artifacts(result.run_id)}
    assert {"checkpoint", "details.json", "order_by_pair.csv", "scores.json"} <= files
    (model,) = client.search_logged_models([made.experiment_id], f"source_run_id = '{result.run_id}'")
    assert model.name == "checkpoint-step-6"
    assert {m.key: (m.value, m.step) for m in model.metrics}["order/moved"] == (moved, 6)
