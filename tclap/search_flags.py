"""`SearchSettings`: the command line of sweeps/search.py, and the points that it may visit."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from tclap.axes import Variation, apply, check_variations, has_axis
from tclap.config import COEFFICIENTS, Configuration, LossCoefficients
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS, HARD_COLUMNS, ORDER
from tclap.flags import OnceEach, SweepName, SweepSettings
from tclap.sweep.space import Range
from tclap.sweep.sweep import DEFAULT_OBJECTIVES

OBJECTIVES = (
    *(f"zste/{name}" for name in ("order", "temporal", "mean", *COLUMNS, *EXTRA_COLUMNS, *HARD_COLUMNS)),
    *ORDER,
)


def _known(name: str) -> str:
    if name not in OBJECTIVES:
        raise ValueError(f"an objective is one of {', '.join(OBJECTIVES)}")
    return name


Objective = Annotated[str, AfterValidator(_known)]


class SearchSettings(SweepSettings):
    """Flags of a search: those of every sweep, and what to vary and how."""

    name: SweepName = Field("search", description="identity of the search")
    trials: int = Field(20, ge=1, description="configurations to try in all; more later continues the search")
    sampler: Literal["tpe", "nsga2", "random", "grid"] = Field(
        "tpe", description="Optuna's sampler; grid: every point once, in an order drawn by --seed"
    )
    seed: int = Field(0, ge=0, description="seed of the sampler; training has its own --seeds")
    objectives: OnceEach[Objective] = Field(DEFAULT_OBJECTIVES, description="metrics to maximise, one or several")
    start_with: Literal["table4"] | None = Field(None, description="try the rows of Table IV first")
    stages: OnceEach[Literal["B", "AB"]] = Field(("B", "AB"), description="stages to choose from")
    any_alpha: bool = Field(False, description="coefficients 0, 0.25, ... 2 instead of 0 and 1")
    lrs: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = Field(
        (), description="learning rates to choose from; default: --lr alone"
    )
    warm_start: str | None = Field(
        None, description="tell the sampler the finished trials of this sweep of the same storage, where settings agree"
    )
    study: str | None = Field(None, description="URL of Optuna's storage; default: a journal file beside the table")

    @field_validator("study")
    @classmethod
    def _study_is_the_same_in_every_folder(cls, url: str | None) -> str | None:
        sqlite = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/:?][^?]*)(.*)", url or "", re.DOTALL)
        return url if sqlite is None else sqlite[1] + os.path.abspath(os.path.expanduser(sqlite[2])) + sqlite[3]

    @model_validator(mode="after")
    def _variations_are_lists_of_something_else(self) -> SearchSettings:
        check_variations(self.variations())
        if self.seeds_up_to is not None:
            raise ValueError("--seeds-up-to is for lists; a search has the same seeds at each of its points")
        own = {"stages", "batch_size", *(("lr",) if self.lrs else ())}
        for variation in self.variations():
            if variation.is_range and self.sampler == "grid":
                raise ValueError(f"--vary {variation.axis.name}: a grid goes through lists of values, not ranges")
            if variation.axis.name in own:
                raise ValueError(f"--vary {variation.axis.name}: a search has flags of its own for it")
            for stages in self.stages:
                if not has_axis(self.configuration(stages, LossCoefficients(), 1), variation.axis):
                    raise ValueError(f"--vary {variation.axis.name}: stages {stages} have none; choose other --stages")
                if variation.is_range and not self._is_stage_bs_alone(variation, stages):
                    raise ValueError(
                        f"--vary {variation.axis.name}: each number of a range would need features or a stage-A run of "
                        "its own; name a few values, or vary what stage B alone reads (optimiser_b.…)"
                    )
        return self

    def _is_stage_bs_alone(self, variation: Variation, stages: Literal["B", "AB"]) -> bool:
        """Whether whatever lies in the range trains from the same start on the same sounds."""
        start = self.configuration(stages, LossCoefficients(), 1)
        one, other = (apply(start, {variation.axis: end}) for end in (variation.low, variation.high))
        return (one.parent, one.data, one.model) == (other.parent, other.data, other.model)

    @field_validator("lrs")
    @classmethod
    def _lrs_are_distinct(cls, lrs: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(lrs)) != len(lrs):
            raise ValueError("--lrs names a learning rate twice")
        return lrs

    def choices(self) -> dict[str, tuple[Any, ...] | Range]:
        """Parameter -> the values that it may take, in order, or a range; the search space is their product."""
        weights = tuple(i / 4 for i in range(9)) if self.any_alpha else (0, 1)
        own: dict[str, tuple[Any, ...] | Range] = {
            "stages": self.stages,
            **dict.fromkeys(COEFFICIENTS, weights),
            "batch_size": self.batch_sizes,
        }
        own |= {"lr": self.lrs} if self.lrs else {}
        for variation in self.variations():
            ends = None if variation.low is None or variation.high is None else (variation.low, variation.high)
            own[variation.axis.name] = variation.values if ends is None else Range(*ends, variation.log)
        return own

    def at(self, point: dict[str, Any]) -> Configuration:
        """The configuration at one point of the search space."""
        coefficients = LossCoefficients(**{name: point[name] for name in COEFFICIENTS})
        configuration = self.configuration(
            point["stages"], coefficients, point["batch_size"], self.match_steps, point.get("lr", self.lr)
        )
        return apply(configuration, {v.axis: point[v.axis.name] for v in self.variations()})

    # Neither the space nor how it is walked through changes a score.
    may_grow: ClassVar[tuple[str, ...]] = (
        *SweepSettings.may_grow,
        *("stages", "lrs", "any_alpha", "sampler", "seed", "start_with"),
    )

    def identity(self) -> dict[str, Any]:
        """As for every sweep; a search may be continued with more trials."""
        return {
            name: value for name, value in super().identity().items() if name not in ("trials", "study", "warm_start")
        }
