"""Flags: what `tclap train` and every sweep share, and `SweepSettings`, a sweep's whole command line.

Each flag of a sweep may also be set as TCLAP_<FLAG> in the environment (a cluster sets TCLAP_STORAGE and TCLAP_DATA).
"""

from __future__ import annotations

import os
from copy import copy
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import to_jsonable_python
from upath import UPath

from tclap import models, presets
from tclap.axes import Variation, parse_vary
from tclap.config import (
    Configuration,
    DataSettings,
    LossCoefficients,
    ModelName,
    ModelSettings,
    OptimiserSettings,
    Settings,
    StageASettings,
    Timing,
    Trainable,
)
from tclap.environment import ScriptSettings
from tclap.errors import InputError
from tclap.models.weights import RANDOM
from tclap.places import UserPath, UserPlace, at
from tclap.stopping_flags import StoppingFlags

# Only what differs from the defaults, which suit mini. Stage lengths are ours: the paper does not print them.
# 100 steps at 256 pairs are 10 epochs of the paper's 2450 pairs.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "model": "msclap-2022",
        "data": "data/esc50",
        "batch_sizes": (128, 256, 512),
        "lr": 1e-4,
        "takes": 2,
        "steps_a": 100,
        "steps_b": 100,
        "timing": "midpoint",
    },
    # The authors' code, as far as it is no defect: `presets.released` sets the rest once the dataset is known.
    "released": {
        "model": "msclap-2022",
        "data": "data/esc50",
        "batch_sizes": (32,),
        "takes": 2,
        "timing": "midpoint",
        "prompts": ("this is a sound of {}",),
        "row_o": "alpha",
    },
}


SweepName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # a folder's name, anywhere


V = TypeVar("V")


def _once_each(values: tuple[V, ...], info: ValidationInfo) -> tuple[V, ...]:
    if not values or len(set(values)) != len(values):
        raise ValueError(f"--{str(info.field_name).replace('_', '-')} needs one value or more, each named once")
    return values


OnceEach = Annotated[tuple[V, ...], AfterValidator(_once_each)]


def _whole_path(text: str) -> Path:
    return Path(os.path.expanduser(text)).resolve()


def flag(kind: type[Settings], name: str, description: str | None = None) -> Any:
    """The flag of a field of Configuration's parts: its default, its bounds and what it means stand there alone.

    description: for people, if the field says it otherwise.
    """
    field = copy(kind.model_fields[name])
    field.description = description or field.description
    return field


class TrainingFlags(BaseModel):
    """Data, model and optimisation of one configuration or of many."""

    data: UserPath | None = Field(None, description="dataset: a folder or a csv; default: a synthetic one")
    model: ModelName = flag(ModelSettings, "name", "base model to post-train")
    weights: str | None = flag(
        ModelSettings, "weights", "pretrained weights: a file or folder, random; default: the hub"
    )
    trainable: Trainable = flag(ModelSettings, "trainable", "part of a pretrained model that is trained")
    train_folds: tuple[int, ...] = flag(DataSettings, "train_folds", "folds that are trained on")
    eval_folds: tuple[int, ...] = flag(DataSettings, "eval_folds", "folds that select configurations")
    test_folds: tuple[int, ...] = flag(DataSettings, "test_folds", "folds kept for the winner and the baselines")
    takes: int = flag(DataSettings, "takes")
    eval_takes: int = flag(DataSettings, "eval_takes")
    holdout_classes: int = flag(DataSettings, "holdout_classes", "classes kept out of training")
    after_fraction: float = flag(DataSettings, "after_fraction")
    timing: Timing = flag(DataSettings, "timing", "lengths and places of sounds: drawn, or midpoint as in the paper")
    prompts: tuple[str, ...] = flag(DataSettings, "prompts")
    vary_draws: bool = flag(Configuration, "vary_draws")
    row_o: Literal["printed", "alpha"] = flag(LossCoefficients, "row_o")
    steps_a: int = flag(OptimiserSettings, "steps", "optimiser steps of stage A")
    # Where sounds lie is drawn, so order takes twice the steps that it took at the midpoint.
    steps_b: int = Field(450, ge=1, description="optimiser steps of stage B")
    base_steps: int = Field(100, ge=1, description="optimiser steps of mini's base")
    lr: float = flag(OptimiserSettings, "lr", "peak learning rate of both stages")
    storage: UserPlace = Field(
        at("runs"), description="folder (of sweeps: or s3:// URL) for results, features and the default MLflow store"
    )

    @field_validator("weights")
    @classmethod
    def _weights_are_found_from_anywhere(cls, weights: str | None) -> str | None:
        # Ray Train's workers run in folders of their own.
        return weights if weights in (None, RANDOM) else os.path.abspath(os.path.expanduser(weights))

    def data_settings(self) -> DataSettings:
        return DataSettings(**{name: getattr(self, name) for name in DataSettings.model_fields if hasattr(self, name)})

    def model_settings(self) -> ModelSettings:
        base = OptimiserSettings(steps=self.base_steps)
        named = ModelSettings(name=self.model, weights=self.weights, trainable=self.trainable, base=base)
        return models.identified(named)

    def configuration(
        self,
        stages: Literal["B", "AB"],
        coefficients: LossCoefficients,
        batch_size: int,
        match_steps: bool = False,
        lr: float | None = None,
    ) -> Configuration:
        """One configuration under these flags; `match_steps` gives B alone the steps of A as well."""
        lr = self.lr if lr is None else lr
        steps_b = self.steps_b + (self.steps_a if match_steps and stages == "B" else 0)
        with_a = stages == "AB"
        return Configuration(
            stages=stages,
            batch_size=batch_size,
            model=self.model_settings(),
            data=self.data_settings(),
            coefficients=coefficients.model_copy(update={"row_o": self.row_o}),
            vary_draws=self.vary_draws,
            stage_a=StageASettings() if with_a else None,
            optimiser_a=OptimiserSettings(steps=self.steps_a, lr=lr) if with_a else None,
            optimiser_b=OptimiserSettings(steps=steps_b, lr=lr),
        )


class SweepSettings(TrainingFlags, StoppingFlags, ScriptSettings):
    """Flags shared by every sweep."""

    preset: Literal["paper", "released"] | None = Field(
        None, description="settings of the paper, or of its authors' released code, instead of mini's"
    )
    batch_sizes: OnceEach[Annotated[int, Field(ge=1)]] = Field(
        (40,), description="pairs in a batch over all workers, comma-separated"
    )
    seeds: OnceEach[Annotated[int, Field(ge=0)]] = Field((0,), description="training seeds, comma-separated")
    seeds_up_to: int | None = Field(
        None, ge=2, description="in lists: so many seeds for those that may still be the best, one more at a time"
    )
    match_steps: bool = Field(False, description="B-only gets A's steps as well, so that B and AB cost the same")
    cache: Path = Field(
        Path("~/.cache/tclap"), description="with an s3:// storage: each node's folder for features and base models"
    )
    name: SweepName = Field("table4", description="identity of the sweep")
    workers: int = Field(1, ge=1, description="Ray Train workers of each trial")
    use_gpu: bool = Field(False, description="train on GPUs")
    gpus_per_worker: float = Field(1.0, gt=0, le=1, description="GPUs of each worker; 0.25 packs four on one")
    concurrent_trials: int | None = Field(
        None, ge=1, description="trials at once; default: what the cluster has room for"
    )
    chunk: int | None = Field(None, ge=1, description="encode so many windows at once, for batches too big for memory")
    retrieval: tuple[str, ...] = Field((), description="score each trial on NAME=AUDIO_FOLDER,CAPTIONS_CSV; repeatable")
    vary: tuple[str, ...] = Field(
        (), description="vary any setting: lr=1e-4,3e-4 or optimiser_b.weight_decay=0,0.1; repeatable"
    )
    allow_missing: bool = Field(False, description="retrieval without the clips that are missing or unusable")
    allow_shared_recordings: bool = Field(False, description="say nothing of recordings whose clips cross the folds")
    mlflow_page: str | None = Field(None, description="where a browser finds MLflow; default: MLFLOW_TRACKING_URI")
    dry_run: bool = Field(False, description="print what would run, and stop")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, given: dict[str, Any]) -> dict[str, Any]:
        preset = given.get("preset")
        if preset == "released" and (own := sorted(set(given) & set(presets.SETS))):
            flags = ", ".join("--" + name.replace("_", "-") for name in own)
            raise ValueError(f"--preset released says how it trains and asks: leave out {flags}")
        return {**PRESETS.get(preset or "", {}), **given}

    @model_validator(mode="after")
    def _shares_of_a_gpu_are_of_one_that_is_used(self) -> SweepSettings:
        if not self.use_gpu and self.gpus_per_worker != type(self).model_fields["gpus_per_worker"].default:
            raise ValueError(
                f"--gpus-per-worker {self.gpus_per_worker:g} without --use-gpu would train on CPUs: add --use-gpu, or "
                "leave it out"
            )
        return self

    @model_validator(mode="after")
    def _workers_of_a_trial_share_no_gpu(self) -> SweepSettings:
        if self.use_gpu and self.workers > 1 and self.gpus_per_worker < 1:
            raise ValueError(
                f"--gpus-per-worker {self.gpus_per_worker:g} with --workers {self.workers}: NCCL refuses two workers "
                "on one GPU; a trial of one worker may share it, several need one each"
            )
        return self

    @field_validator("cache")
    @classmethod
    def _cache_is_the_same_in_every_folder(cls, cache: Path) -> Path:
        return cache if cache.parts[:1] == ("~",) else cache.resolve()  # each node expands its own "~"

    @model_validator(mode="after")
    def _further_seeds_are_more(self) -> SweepSettings:
        if self.seeds_up_to is not None and self.seeds_up_to <= len(self.seeds):
            raise ValueError(f"--seeds-up-to {self.seeds_up_to} is not more than the {len(self.seeds)} of --seeds")
        return self

    @field_validator("vary")
    @classmethod
    def _variations_are_known(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        # The command line splits at commas: what names no field is a further value of the one before.
        joined: list[str] = []
        for part in parts:
            if "=" in part or not joined:
                joined.append(part)
            else:
                joined[-1] += f",{part}"
        for text in joined:
            parse_vary(text)
        return tuple(joined)

    def variations(self) -> list[Variation]:
        """What --vary asks for: every configuration once for each combination of these values."""
        return [parse_vary(text) for text in self.vary]

    @field_validator("retrieval")
    @classmethod
    def _retrieval_names_folder_and_captions(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        # The command line splits at commas, so NAME=DIR and CSV may come apart.
        joined = ",".join(parts).split(",") if parts else []
        if len(joined) % 2 or not all("=" in part for part in joined[::2]):
            raise ValueError("--retrieval is written as NAME=AUDIO_FOLDER,CAPTIONS_CSV")
        names = [part.partition("=")[0] for part in joined[::2]]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"--retrieval names {repeated} twice; give each set of clips a name of its own")
        return tuple(f"{first},{second}" for first, second in zip(joined[::2], joined[1::2], strict=True))

    def retrieval_sets(self) -> dict[str, tuple[Path, Path]]:
        """Name -> (audio folder, caption file), absolute."""
        sets = {}
        for entry in self.retrieval:
            name, _, paths = entry.partition("=")
            folder, csv = paths.split(",")
            sets[name] = (_whole_path(folder), _whole_path(csv))
        return sets

    def configuration(
        self,
        stages: Literal["B", "AB"],
        coefficients: LossCoefficients,
        batch_size: int,
        match_steps: bool = False,
        lr: float | None = None,
    ) -> Configuration:
        """As for every command; as the released code has it with its preset, which reads the dataset's index."""
        made = super().configuration(stages, coefficients, batch_size, match_steps, lr)
        if self.preset != "released":
            return made
        if self.data is None:
            raise InputError("--preset released needs a dataset: --data")
        return presets.released(made, presets.trained_pairs(self.data, made.data))

    # Settings of `identity` that may be others at every start: they say which configurations and seeds there are.
    may_grow: ClassVar[tuple[str, ...]] = ("batch_sizes", "seeds", "vary")

    def identity(self) -> dict[str, Any]:
        """What a sweep's name stands for: every setting that changes its numbers, and none that does not."""
        where = {"name", "data", "storage", "cache", "workers", "use_gpu", "gpus_per_worker", "concurrent_trials"}
        how = {"chunk", "allow_missing", "allow_shared_recordings", "mlflow_page", "dry_run"}
        how |= set() if self.preset == "released" else {"preset"}  # the flags say all of the paper's
        looks = {"seeds_up_to", *StoppingFlags.model_fields}
        return self.model_dump(mode="json", exclude=where | how | looks, exclude_none=True)

    def meant_before(self) -> dict[str, Any]:
        """Settings of `identity` that are newer than some sweeps, as those had them."""
        parts = (DataSettings, LossCoefficients, Configuration)
        known = {name: value for part in parts for name, value in part.meant_before.items()}
        flags = {name: value for name, value in known.items() if name in SweepSettings.model_fields}
        as_json: dict[str, Any] = to_jsonable_python(flags)
        return {**as_json, "vary": []}

    @property
    def sweep_folder(self) -> UPath:
        return self.storage / self.name
