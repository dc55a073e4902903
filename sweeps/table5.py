"""Table V of the paper for any list of models: ZSTE of each, beside the six columns that the paper prints.

python sweeps/table5.py --models mini,msclap-2022,laion,hf:laion/larger_clap_general --data data/esc50
python sweeps/table5.py --models models:/tclap@champion,runs/…/checkpoint,my_model:build,msclap-2022=random
ray job submit --working-dir . -- python sweeps/table5.py --models … --use-gpu
Every model is asked the same questions, whatever it was trained with: of a checkpoint's training only what it has seen
of this dataset counts (its folds are refused, classes that were held out are scored apart). `tclap zste` asks it with
the timing, prompts and draws of its training.
NAME=WEIGHTS gives a model its weights. A model that cannot be had is a row that says why, and the exit code is 1.
"""

import contextlib
import os
from pathlib import Path

from pydantic import Field, field_validator

from tclap.commands.registered import REGISTRY, fetched
from tclap.config import DataSettings, ModelSettings, Timing
from tclap.console import console, parse, run_or_exit
from tclap.data.dataset import check_folds
from tclap.data.synth import default_dataset
from tclap.environment import ScriptSettings
from tclap.experiment import open_workspace
from tclap.flags import SweepName, flag
from tclap.lanes.preflight import check_outlives_job
from tclap.lanes.scoring import Scoring, open_ray, score_models
from tclap.places import UserPath, cache_folder, check_writable
from tclap.report.table5 import ScoredModel, write
from tclap.scored import is_checkpoint
from tclap.tracking import runs as tracking
from tclap.tracking.ending import ended_if_broken_off
from tclap.tracking.scored_models import close_list, log_model, open_list


class Table5Settings(ScriptSettings):
    """Score a list of models on ZSTE."""

    models: tuple[str, ...] = Field(
        min_length=1, description="names, hf:REPO, module:factory, checkpoint folders, models:/NAME"
    )
    data: UserPath | None = Field(None, description="dataset: a folder or a csv; default: a synthetic one")
    folds: tuple[int, ...] = Field((5,), description="folds to score")
    train_folds: tuple[int, ...] = Field((1, 2, 3), description="folds of mini's base")
    eval_takes: int = Field(4, ge=1, description="composites drawn for each pair of classes")
    timing: Timing = flag(DataSettings, "timing", "of the questions: drawn, or midpoint as in the paper")
    base_steps: int = Field(100, ge=1, description="optimiser steps of mini's base")
    storage: UserPath = Field(Path("runs"), description="folder for results, features and the default MLflow store")
    name: SweepName = Field("table5", description="identity of the list")
    use_gpu: bool = Field(False, description="score on GPUs")

    @field_validator("models")
    @classmethod
    def _models_are_found_from_anywhere(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        models = (_absolute(*_parts(name)) for name in names)
        return tuple(dict.fromkeys(name if weights is None else f"{name}={weights}" for name, weights in models))


def _parts(given: str) -> tuple[str, str | None]:
    """(model, weights) of NAME or NAME=WEIGHTS. A folder may have "=" in its name."""
    given = os.path.expanduser(given)
    name, equals, weights = given.partition("=")
    return (name, os.path.expanduser(weights)) if equals and not Path(given).is_dir() else (given, None)


def _absolute(name: str, weights: str | None) -> tuple[str, str | None]:
    """With whole paths: workers run in folders of their own. Raises InputError for a name that cannot be a model."""
    if not name.startswith(REGISTRY):  # which is asked once the storage is known
        name = str(Path(name).resolve()) if is_checkpoint(name) else ModelSettings(name=name).name
    return name, str(Path(weights).resolve()) if weights and Path(weights).exists() else weights


def main() -> int:
    settings = parse(Table5Settings)
    check_outlives_job(settings.storage)
    storage = settings.storage.resolve()
    check_writable(storage / settings.name)
    data = (settings.data or default_dataset(storage)).resolve()
    workspace = open_workspace(data, cache_folder(storage))
    check_folds(workspace.dataset, {"folds": settings.folds})
    scoring = Scoring(
        data=str(data),  # not the root, which is a csv's folder: it may hold another dataset as well
        dataset_digest=workspace.dataset_digest,
        cache=str(workspace.cache),
        folds=settings.folds,
        train_folds=settings.train_folds,
        base_steps=settings.base_steps,
        asked=DataSettings(eval_takes=settings.eval_takes, timing=settings.timing),
    )
    asked = {name: settings.__dict__[name] for name in ("folds", "train_folds", "base_steps")}
    asked |= {name: getattr(scoring.asked, name) for name in ("eval_takes", "timing", "prompts", "draw_seed")}
    asked["dataset_digest"] = workspace.dataset_digest
    uri = tracking.tracking_uri(storage)
    scored: dict[str, ScoredModel] = {}
    with tracking.answering(uri), contextlib.ExitStack() as while_scored:
        models = {label: _parts(label) for label in settings.models}
        for label, (name, weights) in models.items():  # every worker reads the storage
            place = fetched(name, storage, weights, below=storage / settings.name)
            models[label] = (while_scored.enter_context(place), weights)
        client, experiment_id = tracking.connect(uri, storage)
        open_ray(settings.use_gpu)  # before there is a run that it would leave behind
        parent = open_list(client, experiment_id, settings.name, {**asked, "models": ",".join(settings.models)})
        with ended_if_broken_off(client, parent):
            for one in score_models(models, scoring, settings.use_gpu):
                scored[one.model] = one
                console.print(f"{one.model}: {one.problem or 'scored'}")
                log_model(client, experiment_id, settings.name, parent, one.model, asked, one.scores, one.problem)
            rows = [scored[name] for name in settings.models]
            files = write(rows, storage / settings.name / "table5", settings.timing)
            missing = [one.model for one in rows if one.problem]
            close_list(client, parent, files, complete=not missing)
    console.print(files[1].read_text(encoding="utf-8"))
    console.print(f"files: {storage / settings.name}")
    return 1 if missing else 0


if __name__ == "__main__":
    run_or_exit(main)
