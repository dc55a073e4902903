"""A small sweep in a real MLflow store, made by the same calls that a trial makes, with mini really trained; no Ray."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tclap.config import (
    Configuration,
    DataSettings,
    LossCoefficients,
    ModelSettings,
    OptimiserSettings,
    StageASettings,
    config_hash,
)
from tclap.experiment import base_of, evaluate, open_workspace, train
from tclap.places import checkpoint_folder
from tclap.report.tables import about_scores, result_frame, write_rows, write_tables
from tclap.sweep.ledger import Result
from tclap.tracking import runs as tracking
from tclap.tracking.page import run_link
from tclap.training import checkpoint

NAME = "small"
# What an earlier shell, or a job that started this one, may have left: a run and an experiment of something else.
STALE = {"MLFLOW_RUN_ID": "0" * 32, "MLFLOW_EXPERIMENT_NAME": "theirs", "MLFLOW_EXPERIMENT_ID": "77"}
SOUND, PAGE = "synth", "http://mlflow:5000"
SEEDS = (1, 0)
DATA = DataSettings(takes=1, eval_takes=1)
MODEL = ModelSettings(base=OptimiserSettings(steps=5))


def configuration(steps: int, alpha_st: float = 1.0) -> Configuration:
    return Configuration(
        stages="B",
        batch_size=6,
        model=MODEL,
        data=DATA,
        coefficients=LossCoefficients(alpha_st=alpha_st),
        optimiser_b=OptimiserSettings(steps=steps, lr=3 * 1e-4),  # 0.00030000000000000003 must come back as it is
    )


CONFIGURATIONS = [configuration(3), configuration(3, alpha_st=0.0)]


@dataclass(frozen=True)
class Store:
    """Where the sweep is, and what the sweep itself wrote."""

    storage: Path
    uri: str
    client: MlflowClient
    experiment_id: str
    parent_id: str
    files: list[Path]  # the table: csv, md, html, png
    run_ids: dict[tuple[str, int], str]

    def checkpoint(self, name: str, seed: int) -> Path:
        return self.storage / NAME / "trials" / name / f"seed-{seed}" / "checkpoint"


@pytest.fixture(scope="session")
def store(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name, value in STALE.items():
            patch.setenv(name, value)
        yield make_store(root, tmp_path_factory.mktemp("runs"))


def make_store(root: Path, storage: Path) -> Store:
    uri = tracking.tracking_uri(storage)
    client, experiment_id = tracking.connect(uri, storage)
    workspace = open_workspace(root, storage / "cache")
    digest = workspace.dataset_digest
    parent_id = tracking.sweep_run(client, experiment_id, NAME, {"lr": 0.1}, root, digest)
    arguments = (client, experiment_id, NAME, parent_id)
    done, run_ids = {}, {}
    # Trials overlap and end in any order, so MLflow's order is not the table's.
    for config in reversed(CONFIGURATIONS):
        name = config_hash(config)
        for seed in sorted(SEEDS):
            run_id = tracking.child_run(*arguments, config, seed, None)
            model = checkpoint.load(base_of(workspace, config))
            train(workspace, config, model, seed=seed)
            scores = evaluate(workspace, config.data, model, config.data.eval_folds)
            place = checkpoint_folder(storage / NAME, config, seed)
            checkpoint.save(place, model, {"seed": seed})
            tracking.finish(client, run_id, scores, place, {"train_s": 1.0}, 3)
            done[name, seed] = Result(name, seed, scores, 1.0, 3, "here", run_id)
            run_ids[name, seed] = run_id
            time.sleep(0.002)
    # What is no finished trial of this sweep, and must not be taken for one.
    tracking.child_run(*arguments, configuration(7), 0, None)
    stage_a = Configuration(
        stages="A", batch_size=6, model=MODEL, data=DATA, stage_a=StageASettings(), optimiser_a=OptimiserSettings()
    )
    done_a = tracking.child_run(*arguments, stage_a, 0, None)
    client.set_tag(done_a, "done", "true")
    tracking.sweep_run(client, experiment_id, "other", {}, root, digest)
    order = {(config_hash(c), seed): done[config_hash(c), seed] for c in CONFIGURATIONS for seed in SEEDS}
    frame = result_frame(CONFIGURATIONS, order)
    about = about_scores(CONFIGURATIONS, (result.scores for result in order.values()), SOUND)
    links = {key: run_link(PAGE, experiment_id, result.run_id) for key, result in order.items()}
    files = write_tables(frame, storage / NAME / "table4", "", about, links)
    client.log_artifact(parent_id, str(write_rows(frame, "table4", (), storage, SOUND, PAGE)))
    client.set_terminated(parent_id, "FINISHED")
    return Store(storage, uri, client, experiment_id, parent_id, files, run_ids)
