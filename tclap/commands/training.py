"""`tclap pretrain` and `tclap train`: one base, one configuration, without Ray."""

from __future__ import annotations

import functools
import sys
import time
import traceback
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tclap.commands.scoring import print_scores
from tclap.config import COEFFICIENTS, Configuration, LossCoefficients, config_hash
from tclap.console import console
from tclap.data import dataset as datasets
from tclap.data import synth
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import metric_values
from tclap.experiment import (
    Workspace,
    base_of,
    check,
    check_clips,
    evaluate,
    evaluate_closely,
    open_workspace,
    provenance,
    train,
)
from tclap.flags import SweepName, TrainingFlags, flag
from tclap.models import best_device
from tclap.models.protocol import ContrastiveModel
from tclap.places import cache_folder, check_writable, checkpoint_folder, local_folder
from tclap.sweep.curve import SHOWN, Curve, best_metrics, is_scored
from tclap.tracking import runs
from tclap.tracking.beside import RunBeside
from tclap.tracking.page import run_link
from tclap.tracking.provenance import log_origin
from tclap.tracking.runs import MlflowClient
from tclap.tracking.uri import answering, browse_command, page_at, tracking_uri
from tclap.training import checkpoint
from tclap.training.base import base_checkpoint
from tclap.training.stage import Report


def _data(flags: TrainingFlags) -> Path:
    """The dataset's folder or csv."""
    return flags.data or synth.default_dataset(local_folder(flags.storage))


def _workspace(flags: TrainingFlags) -> Workspace:
    storage = local_folder(flags.storage)
    check_writable(storage)
    return open_workspace(_data(flags), cache_folder(storage))


def _append_loss(losses: list[float]) -> Report:
    return lambda step, metrics: losses.append(metrics["loss"])


class Pretrain(TrainingFlags):
    """Train mini's base on single sounds, unless its checkpoint exists, and print where it is."""

    def cli_cmd(self) -> None:
        workspace = _workspace(self)
        data, settings = self.data_settings(), self.model_settings()
        folds = {"train_folds": data.train_folds}
        datasets.check_folds(workspace.dataset, folds)
        losses: list[float] = []
        place = base_checkpoint(
            workspace.dataset,
            workspace.dataset_digest,
            data,
            settings,
            workspace.cache,
            _append_loss(losses),
        )
        if losses:
            console.print(f"{len(losses)} steps, loss {losses[0]:.3f} -> {losses[-1]:.3f}")
        console.print(str(place))


class Train(TrainingFlags):
    """Train and evaluate one configuration, without Ray."""

    stages: Literal["B", "AB"] = Field("AB", description="B from the base, or A and then B")
    batch_size: int = Field(40, ge=1, description="pairs in a batch")
    seed: int = Field(0, ge=0, description="training seed")
    alpha_st: float = flag(LossCoefficients, "alpha_st")
    alpha_ct: float = flag(LossCoefficients, "alpha_ct")
    alpha_so: float = flag(LossCoefficients, "alpha_so")
    alpha_co: float = flag(LossCoefficients, "alpha_co")
    beta: float = flag(LossCoefficients, "beta")
    any_alpha: bool = Field(False, description="allow coefficients other than 0 and 1")
    evaluate_every: int = Field(0, ge=0, description="also score every so many steps of a stage; 0: only at its end")
    name: SweepName = Field("train", description="folder below --storage")
    track: bool = Field(True, description="log losses, scores and checkpoint to MLflow: a new run for each stage")

    @model_validator(mode="after")
    def _coefficients_are_binary(self) -> Train:
        for name in COEFFICIENTS:
            value = getattr(self, name)
            if value not in (0, 1) and not self.any_alpha:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} {value:g} must be 0 or 1 as in the paper; --any-alpha allows other weights")
        return self

    def cli_cmd(self) -> None:
        weights = {name: getattr(self, name) for name in COEFFICIENTS}
        coefficients = LossCoefficients(**weights)
        configuration = self.configuration(self.stages, coefficients, self.batch_size)
        check_writable(local_folder(self.storage) / self.name)
        workspace = _workspace(self)
        check(workspace.dataset, configuration)
        check_clips(workspace, configuration.data)
        device = best_device()
        # Before anything that takes long: a store that does not answer, or an experiment that was deleted.
        uri = tracking_uri(self.storage) if self.track else None
        client, experiment_id = None, ""
        if uri is not None:
            with answering(uri):
                client, experiment_id = runs.connect(uri, self.storage)
        model = checkpoint.load(base_of(workspace, configuration))
        model.module().to(device)
        run_id = None  # of stage A, then of the last stage
        for part in filter(None, (configuration.parent, configuration)):
            opened = functools.partial(self._open_run, client, experiment_id, workspace, part, run_id)
            with RunBeside(opened, active=self.track) as run:
                try:
                    scores, place, run_id = self._train(workspace, part, model, run)
                except KeyboardInterrupt:
                    run.killed()
                    raise
                except Exception:
                    run.failed(traceback.format_exc())
                    raise
        print_scores(scores)
        if uri is not None and run_id is not None:
            if uri.startswith("sqlite"):
                console.print(f"to browse: {browse_command(uri)}")
            console.print(f"then open {run_link(page_at(uri), experiment_id, run_id)}")
        console.print(f"checkpoint: {place}")

    def _open_run(
        self,
        client: MlflowClient,
        experiment_id: str,
        workspace: Workspace,
        part: Configuration,
        stage_a_run_id: str | None,
    ) -> tuple[MlflowClient, str]:
        run_id = runs.single_run(client, experiment_id, self.name, part, self.seed, stage_a_run_id)
        log_origin(client, run_id, str(_data(self).resolve()), workspace.dataset_digest, sys.argv[0])
        return client, run_id

    def _train(
        self, workspace: Workspace, part: Configuration, model: ContrastiveModel, run: RunBeside
    ) -> tuple[dict[str, Score], Path, str | None]:
        """Train one stage and score it: its scores, its checkpoint and its run's id."""
        losses: list[float] = []
        curve: Curve = {}
        letter, data = part.stages[-1], part.data

        def report(step: int, metrics: dict[str, float]) -> None:
            losses.append(metrics["loss"])
            run.log(step, metrics)

        def look(steps_done: int) -> bool:
            scores = evaluate(workspace, data, model, data.eval_folds)
            curve[steps_done] = values = metric_values(scores)
            shown = ", ".join(f"{name} {values[name]:.1f}" for name in SHOWN if name in values)
            console.print(f"stage {letter}, step {steps_done}: {shown}")
            run.score(steps_done, runs.score_metrics(scores))
            return False

        look_at = functools.partial(is_scored, every=self.evaluate_every)
        began = time.perf_counter()
        train(workspace, part, model, seed=self.seed, report=report, look=look, look_at=look_at)
        train_s = time.perf_counter() - began
        place = local_folder(checkpoint_folder(self.storage / self.name, part, self.seed))
        checkpoint.save(place, model, provenance(workspace, part, self.seed))
        scores, details = evaluate_closely(workspace, data, model, data.eval_folds)
        steps = part.optimiser.steps
        if curve:
            curve[steps] = metric_values(scores)
        extra = {"train_s": train_s, **best_metrics(curve)}
        run_id = run.finish(scores, place, extra, steps, details) if self.track else None
        console.print(
            f"stage {letter} of {config_hash(part)}: {len(losses)} steps, loss {losses[0]:.3f} -> {losses[-1]:.3f}"
        )
        return scores, place, run_id
