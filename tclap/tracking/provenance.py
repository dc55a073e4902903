"""What a run says of where it comes from: dataset, source, user, versions and commit; its trials say the same."""

from __future__ import annotations

import functools
import getpass
import importlib.metadata
import os
import subprocess
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, RunTag

PACKAGES = ("tclap", "torch", "ray", "mlflow", "optuna", "numpy", "msclap")
ORIGIN = ("mlflow.source.name", "mlflow.source.type", "mlflow.user")


def log_origin(client: MlflowClient, run_id: str, dataset: str, dataset_digest: str, source: str) -> None:
    """Say on a run which dataset it used, what started it (a script's path), and who. Again, it changes nothing."""
    # MLflow keeps 36 characters of a digest, and takes the same dataset once.
    entry = Dataset(name=Path(dataset).name, digest=dataset_digest[:36], source_type="local", source=dataset)
    context = [InputTag(key="mlflow.data.context", value="training and evaluation")]
    client.log_inputs(run_id, [DatasetInput(entry, context)])
    tags = [RunTag(key, value) for key, value in zip(ORIGIN, (source, "LOCAL", _user()), strict=True)]
    client.log_batch(run_id, tags=tags)


def copy_origin(client: MlflowClient, run_id: str, from_run_id: str) -> None:
    """Say on a run what `log_origin` said on another one: who started a sweep is not who runs its workers."""
    run = client.get_run(from_run_id)
    if run.inputs.dataset_inputs:
        client.log_inputs(run_id, run.inputs.dataset_inputs)
    client.log_batch(run_id, tags=[RunTag(key, run.data.tags[key]) for key in ORIGIN if key in run.data.tags])


@functools.cache
def versions() -> dict[str, str]:
    """Tags with the versions of what computes, and with the commit of this code, if it is known."""
    tags = {f"version.{package}": importlib.metadata.version(package) for package in PACKAGES}
    commit = os.environ.get("TCLAP_GIT_COMMIT") or _git_commit()
    return {**tags, "git_commit": commit} if commit else tags


def _git_commit() -> str | None:
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "rev-parse", "HEAD"]
        out = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:  # no git on this machine: an image, say
        return None
    return out.stdout.strip() or None if out.returncode == 0 else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # an id without an entry in the container's user table
        return "unknown"
