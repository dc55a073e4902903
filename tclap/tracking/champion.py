"""The model registry: a sweep's winner becomes a version of the model `tclap`, with its sweep's name as alias.

One version of all has the alias `champion`: the first one until another is promoted.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

import tclap
from tclap import plugins
from tclap.config import canonical_hash
from tclap.errors import InputError
from tclap.redact import without_passwords
from tclap.tracking.read import Trial

MODEL, ALIAS = "tclap", "champion"
ADDRESS = f"models:/{MODEL}@{ALIAS}"
ABSENT = {ErrorCode.Name(code) for code in (RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE)}  # of an alias, or a run
# What is in a score besides the model, as far as trials may differ in it.
EVALUATION = ("eval_folds", "eval_takes", "draw_seed", "timing", "prompts")
CODE = Path(__file__).with_name("champion_model.py")
# What the code that travels with the model imports; msclap and transformers only for the models of that name.
PACKAGES = (
    *("mlflow", "numpy", "pandas", "scipy", "pydantic", "safetensors", "soundfile", "torch", "torchaudio"),
    *("msclap", "transformers"),
)
SIGNATURE = ModelSignature(
    Schema([ColSpec(Array(DataType.string), "audio"), ColSpec(Array(DataType.string), "text")]),
)


RESERVED = re.compile(r"latest|champion|v\d+", re.IGNORECASE)  # the first and last by MLflow


@dataclass(frozen=True)
class Version:
    """A version of the registered model."""

    number: str
    new: bool
    alias: str


@dataclass(frozen=True)
class Standing:
    """What a version is chosen by: a metric of its run in percent, None where it has none."""

    number: str
    sweep: str
    metric: str
    evaluation: float | None
    test: float | None
    scored_on: tuple[str | None, ...]  # dataset, folds and draws of evaluation

    def __str__(self) -> str:
        scores = ((self.evaluation, "evaluation"), (self.test, "test"))
        told = " and ".join(f"{value:.1f} on the {folds} folds" for value, folds in scores if value is not None)
        return f"version {self.number} of sweep {self.sweep}, {self.metric} {told or 'unknown'}"


def register(client: MlflowClient, uri: str, trial: Trial, why: dict[str, str]) -> Version:
    """Give `trial` its sweep's alias: as a new version, or as the version that this run already is.

    why: tags of a new version that say how it was chosen, `sweep` among them.
    """
    found = client.search_model_versions(f"name = '{MODEL}' and run_id = '{trial.run_id}'")
    number = max((v.version for v in found), key=int) if found else _new_version(client, uri, trial, why)
    alias = alias_of(client, why["sweep"])
    client.set_registered_model_alias(MODEL, alias, number)
    return Version(str(number), not found, alias)


def alias_of(client: MlflowClient, sweep: str) -> str:
    """The alias of a sweep's winner: its name, without what MLflow takes for something else.

    If another sweep has that alias ("a.b" and "a-b" are the same without their dot), some digits tell them apart.
    """
    plain = sweep.replace(".", "-")
    alias = f"sweep-{plain}" if RESERVED.fullmatch(plain) else plain
    number = _number_at(client, alias)
    holder = sweep if number is None else client.get_model_version(MODEL, number).tags.get("sweep", sweep)
    return alias if holder == sweep else f"{alias}-{canonical_hash(sweep, 6)}"


def promote(client: MlflowClient, number: str) -> None:
    """Make a version the champion."""
    client.set_registered_model_alias(MODEL, ALIAS, number)


def champion_now(client: MlflowClient) -> str | None:
    """The number of the version that is the champion; None if there is none."""
    return _number_at(client, ALIAS)


def _number_at(client: MlflowClient, alias: str) -> str | None:
    try:
        return str(client.get_model_version_by_alias(MODEL, alias).version)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise


def standing(client: MlflowClient, number: str, metric: str) -> Standing:
    """How a version stands in `metric`, by its MLflow name; a version whose run is gone has no scores."""
    version = client.get_model_version(MODEL, number)
    try:
        run = client.get_run(version.run_id)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return Standing(number, version.tags.get("sweep", "unknown"), metric, None, None, ())
    parent = run.data.tags.get("mlflow.parentRunId")
    digest = client.get_run(parent).data.tags.get("dataset_digest") if parent else None
    on_test = run.data.metrics.get(f"zste_test/{metric.removeprefix('zste/')}")
    sweep = version.tags.get("sweep", run.data.tags.get("sweep", "unknown"))
    scored_on = (digest, *(run.data.params.get(f"data.{name}") for name in EVALUATION))
    return Standing(number, sweep, metric, run.data.metrics.get(metric), on_test, scored_on)


def _new_version(client: MlflowClient, uri: str, trial: Trial, why: dict[str, str]) -> str:
    try:
        client.create_registered_model(MODEL, description="CLAP post-trained for the order of sounds")
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    run = client.get_run(trial.run_id)
    # In the run's own experiment: Model.log would take the default one, with artifacts below the working directory.
    model = client.create_logged_model(
        run.info.experiment_id, name=ALIAS, source_run_id=trial.run_id, params=run.data.params
    )
    with tempfile.TemporaryDirectory() as scratch, global_store(uri), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*An input example was not provided")  # it would need files
        # What mlflow.pyfunc.log_model calls; that one would reopen the finished run, and so end it again.
        Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            run_id=trial.run_id,
            model_id=model.model_id,
            python_model=str(CODE),
            artifacts={"checkpoint": str(checkpoint_of(client, trial, Path(scratch)))},
            # tclap is on no package index, nor is a user's own model
            code_paths=[
                str(Path(tclap.__file__).parent),
                *map(str, plugins.code_paths(trial.configuration.model.name, plugins.MODELS)),
            ],
            # Without a local part such as "+cpu", which no index has.
            pip_requirements=[f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in PACKAGES],
            signature=SIGNATURE,
        )
        version = client.create_model_version(
            MODEL, f"models:/{model.model_id}", trial.run_id, tags=why, model_id=model.model_id
        )
    return str(version.version)


def checkpoint_of(client: MlflowClient, trial: Trial, scratch: Path) -> Path:
    """The trial's checkpoint folder, downloaded into `scratch` from wherever the store keeps it."""
    return Path(client.download_artifacts(trial.run_id, "checkpoint", str(scratch)))


def fetch(address: str, uri: str, scratch: Path) -> Path:
    """The checkpoint folder of a registered model (`models:/tclap@champion`, `models:/tclap/3`), below `scratch`.

    Raises InputError where there is no such model, or it is none of ours.
    """
    try:
        with global_store(uri):
            folder = Path(mlflow.artifacts.download_artifacts(address, dst_path=str(scratch)))
    except MlflowException as error:
        why = without_passwords(str(error).splitlines()[0])
        raise InputError(f"{address} cannot be had from MLflow at {without_passwords(uri)}: {why}") from error
    place = folder / "artifacts" / "checkpoint"
    if not place.is_dir():
        raise InputError(f"{address} is not a model that `tclap best` registered: it has no artifacts/checkpoint")
    return place


@contextlib.contextmanager
def global_store(uri: str) -> Iterator[None]:
    """Make `uri` MLflow's global store meanwhile: models:/ addresses are looked up there, whatever the client."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
