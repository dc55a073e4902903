"""Where everything of a sweep lives below its storage folder, and what of it is done (design 7.4).

STORAGE/
    mlflow.db, mlartifacts/      the default MLflow store
    cache/                       frozen features and base models, shared by every sweep
    data/                        synthetic datasets
    NAME/                        one sweep
        trials/<config_hash>/seed-<n>/result.json, checkpoint/
        ray/                     Ray's own run files
        table4.csv, .md, .html, .png
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tclap.config import Configuration, config_hash
from tclap.errors import InputError
from tclap.evaluation.statistics import Score


@dataclass(frozen=True)
class Result:
    """What a finished configuration and seed leaves behind; its checkpoint lies beside it."""

    config_hash: str
    seed: int
    scores: dict[str, Score]
    train_s: float  # wall time of the training loop
    steps: int
    host: str
    run_id: str | None = None  # MLflow's
    retrieval: dict[str, dict[str, Score]] = field(default_factory=dict)  # benchmark -> "t2a_r1", ... -> score


def cache_folder(storage: Path) -> Path:
    return storage / "cache"


def trial_folder(sweep: Path, name: str) -> Path:
    """Folder of the configuration with `name` as its config_hash."""
    return sweep / "trials" / name


def seed_folder(sweep: Path, configuration: Configuration, seed: int) -> Path:
    return trial_folder(sweep, config_hash(configuration)) / f"seed-{seed}"


def checkpoint_folder(sweep: Path, configuration: Configuration, seed: int) -> Path:
    return seed_folder(sweep, configuration, seed) / "checkpoint"


def write_result(folder: Path, result: Result) -> None:
    """Mark a seed as done. Written last and atomically: where it exists, the checkpoint is whole."""
    write_atomically(folder / "result.json", json.dumps(asdict(result), indent=1))


def read_result(folder: Path) -> Result | None:
    """The result of a seed, or None where it is not done."""
    path = folder / "result.json"
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text())
        retrieval = {name: _scores(scores) for name, scores in raw.pop("retrieval").items()}
        return Result(**{**raw, "scores": _scores(raw["scores"]), "retrieval": retrieval})
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise InputError(f"{path} is not a result of this version of tclap: delete it to run the seed again") from error


def _scores(raw: dict[str, dict[str, float]]) -> dict[str, Score]:
    return {name: Score(**score) for name, score in raw.items()}  # type: ignore[arg-type]


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader, or a kill, never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False) as scratch:
        scratch.write(text)
    os.replace(scratch.name, path)


def claim_name(sweep: Path, identity: dict[str, Any]) -> None:
    """Bind a sweep's folder to what it is about. Raises InputError where the name stands for something else."""
    path = sweep / "sweep.json"
    if not path.exists():
        write_atomically(path, json.dumps(identity, indent=1))
        return
    before = json.loads(path.read_text())
    missing = "(not set)"
    changes = [
        f"{key} was {before.get(key, missing)}, now {identity.get(key, missing)}"
        for key in sorted(before.keys() | identity.keys())
        if before.get(key) != identity.get(key)
    ]
    if changes:
        raise InputError(f"the name {sweep.name} stands for another sweep in {sweep.parent}: {'; '.join(changes)}")


def stop_file(sweep: Path) -> Path:
    """Where it exists, the sweep's trials checkpoint and end: its driver was interrupted."""
    return sweep / "stop"


def stop_requested(sweep: Path) -> bool:
    return stop_file(sweep).exists()


def check_writable(folder: Path) -> None:
    """Make `folder`; raise InputError, naming it, where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"storage folder {folder} cannot be written to: {error.strerror}") from error
