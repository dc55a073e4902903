"""Frozen, validated settings of one configuration, and the hash that names it everywhere.

A `Configuration` holds exactly what changes the numbers: two configurations with equal `config_hash` give the
same model. How it is run (workers, storage, checkpoint interval) is not part of it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tclap import plugins

# Sorted, since their order means nothing and would change the hash.
Folds = Annotated[tuple[int, ...], AfterValidator(lambda folds: tuple(sorted(folds)))]
# Built-in models, and whether they come pretrained: the base of one that does not is trained here, and all of it is.
BUILT_IN_MODELS = {"mini": False, "msclap-2022": True, "msclap-2023": True, "laion": True}
HUB_PREFIX = "hf:"


def unknown_model(name: str) -> str:
    """The line that says what a model may be called."""
    near = get_close_matches(name, BUILT_IN_MODELS, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return (
        f"unknown model {name!r}; known models: {', '.join(BUILT_IN_MODELS)}, {HUB_PREFIX}REPO (or a folder), "
        f"package.module:factory, or an entry point of {plugins.MODELS}{meant}"
    )


def _known_model(name: str) -> str:
    hub = name.startswith(HUB_PREFIX) and len(name) > len(HUB_PREFIX)
    if hub and os.path.isdir(folder := os.path.expanduser(name.removeprefix(HUB_PREFIX))):
        return HUB_PREFIX + os.path.abspath(folder)  # workers run in folders of their own
    if not (name in BUILT_IN_MODELS or hub or plugins.reference(name, plugins.MODELS)):
        raise ValueError(unknown_model(name))
    return name


ModelName = Annotated[str, AfterValidator(_known_model)]
Trainable = Literal["paper", "projection", "all"]
Timing = Literal["drawn", "midpoint"]
COEFFICIENTS = ("alpha_st", "alpha_ct", "alpha_so", "alpha_co", "beta")  # the weights among LossCoefficients


class Settings(BaseModel):
    """Base of every settings object: immutable, unknown keys raise, numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Fields that came after the first sweeps were run, each with the value that those sweeps had without naming it.
    meant_before: ClassVar[dict[str, Any]] = {}

    def for_hash(self) -> dict[str, Any]:
        """JSON-able values of all fields, without those that came later and have the value they had before they came.

        So a configuration of an older version keeps its hash, and its results are found.
        """
        dumped = self.model_dump(mode="json")
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name in self.meant_before and value == self.meant_before[name]:
                del dumped[name]
            elif isinstance(value, Settings):
                dumped[name] = value.for_hash()
        return dumped


class LossCoefficients(Settings):
    """α and β of equations 11-15. The paper uses 0 and 1; the loss takes any weight >= 0."""

    alpha_st: float = Field(1.0, ge=0, description="weight of a clip's own time-reversed negative (eq. 11)")
    alpha_ct: float = Field(1.0, ge=0, description="weight of other clips' time-reversed negatives (eq. 11)")
    alpha_so: float = Field(1.0, ge=0, description="weight of a clip's own overlaid negative (eq. 12)")
    alpha_co: float = Field(1.0, ge=0, description="weight of other clips' overlaid negatives (eq. 12)")
    beta: float = Field(1.0, ge=0, description="weight of the text-anchored loss L_a (eq. 15)")
    row_o: Literal["printed", "alpha"] = Field(
        "printed", description="overlay anchors: eqs. 10 and 13, or alphas on their ordered negatives as released"
    )

    meant_before: ClassVar[dict[str, Any]] = {"row_o": "printed"}


class StageASettings(Settings):
    """TeminAL A's coefficients (eqs. A15, 18). The paper keeps all of them at 1."""

    alpha_same: float = Field(1.0, ge=0)
    alpha_diff: float = Field(1.0, ge=0)
    beta: float = Field(1.0, ge=0)


class OptimiserSettings(Settings):
    """AdamW with linear warm-up and a schedule over `steps`: by default a cosine to zero.

    "constant" keeps `lr` after the warm-up; "exponential" multiplies it by 0.95 after every `epoch_steps` steps, as the
    paper's released code does after each epoch.
    """

    steps: int = Field(150, ge=1)
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup_fraction: float = Field(0.1, ge=0, le=1)
    grad_clip: float = Field(1.0, gt=0)
    schedule: Literal["cosine", "constant", "exponential"] = "cosine"
    epoch_steps: int | None = Field(None, ge=1, description="steps of an epoch, for the exponential schedule alone")
    logit_scale: Literal["learned", "fixed"] = Field("learned", description="is the temperature of the loss trained?")

    meant_before: ClassVar[dict[str, Any]] = {"schedule": "cosine", "epoch_steps": None, "logit_scale": "learned"}

    @model_validator(mode="after")
    def _exponential_has_its_epochs(self) -> OptimiserSettings:
        if (self.schedule == "exponential") != (self.epoch_steps is not None):
            raise ValueError("epoch_steps goes with schedule exponential, and with no other")
        return self


class DataSettings(Settings):
    """Which clips train, select and test, and how many composites are drawn from them (design 3)."""

    train_folds: Folds = (1, 2, 3)
    eval_folds: Folds = (4,)
    test_folds: Folds = (5,)
    takes: int = Field(40, ge=1, description="composites drawn for each pair of classes, for training")
    eval_takes: int = Field(4, ge=1, description="composites drawn for each pair of classes, for evaluation")
    holdout_classes: int = Field(0, ge=0, description="classes kept out of training, drawn by draw_seed")
    after_fraction: float = Field(0.0, ge=0, le=1, description="fraction of the pairs said with 'after'")
    draw_seed: int = 0
    timing: Timing = Field("drawn", description="lengths and places of sounds: drawn, or half a window each")
    train_draw_seed: int | None = Field(None, ge=0, description="seed of the training composites; None: draw_seed")
    prompts: tuple[str, ...] = Field(("The sound of {}",), description="class captions of evaluation, averaged")

    meant_before: ClassVar[dict[str, Any]] = {
        "timing": "midpoint",
        "train_draw_seed": None,
        "prompts": ("The sound of {}",),
    }

    @field_validator("prompts")
    @classmethod
    def _prompts_have_a_place_for_the_class(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        if not prompts or len(set(prompts)) != len(prompts):
            raise ValueError("prompts need at least one, each given once")
        for prompt in prompts:
            if prompt.count("{}") != 1 or "{" in prompt.replace("{}", "") or "}" in prompt.replace("{}", ""):
                raise ValueError(f"prompt {prompt!r} needs one {{}} for the class, such as 'The sound of {{}}'")
        return prompts

    @model_validator(mode="after")
    def _folds_are_disjoint(self) -> DataSettings:
        sets = {"train": self.train_folds, "eval": self.eval_folds, "test": self.test_folds}
        for name, folds in sets.items():
            if name != "test" and not folds:
                raise ValueError(f"{name}_folds is empty; it needs at least one fold")
            if len(set(folds)) != len(folds):
                raise ValueError(f"{name}_folds names a fold twice: {folds}")
        names = list(sets)
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                shared = sorted(set(sets[first]) & set(sets[second]))
                if shared:
                    raise ValueError(
                        f"fold {shared[0]} is in both {first}_folds and {second}_folds; they must be disjoint"
                    )
        return self


class ModelSettings(Settings):
    """Which base model is post-trained, and which part of it.

    `base` holds how mini's own base is made; the others have pretrained `weights`: a local file or folder, None for
    the hub, "random" for an untrained base. `identity` says what a model from outside this package is besides its
    name (`tclap.models.identity`), so that another version of it, or other weights, are another configuration.
    """

    name: ModelName = "mini"
    trainable: Trainable = "paper"
    weights: str | None = None
    base: OptimiserSettings = OptimiserSettings(steps=100)
    base_batch_size: int = Field(64, ge=1)
    base_seed: int = 0
    identity: str | None = None

    meant_before: ClassVar[dict[str, Any]] = {"identity": None}

    @property
    def pretrained(self) -> bool:
        return BUILT_IN_MODELS.get(self.name, True)

    @model_validator(mode="after")
    def _what_is_trained_here_has_no_choice(self) -> ModelSettings:
        if not self.pretrained and (self.trainable != "paper" or self.weights is not None):
            raise ValueError(
                f"{self.name} takes neither trainable nor weights: its base is trained here, and all of it is"
            )
        return self


class Configuration(Settings):
    """One point of a sweep: stage A alone (shared by others), B from the base, or B from stage A ("AB")."""

    stages: Literal["A", "B", "AB"]
    batch_size: int = Field(ge=1)
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    coefficients: LossCoefficients | None = None
    stage_a: StageASettings | None = None
    optimiser_a: OptimiserSettings | None = None
    optimiser_b: OptimiserSettings | None = None
    vary_draws: bool = Field(False, description="each seed draws mini's base and the training composites anew")

    meant_before: ClassVar[dict[str, Any]] = {"vary_draws": False}

    @model_validator(mode="after")
    def _has_what_its_stages_need(self) -> Configuration:
        for letter, fields in (
            ("A", ("stage_a", "optimiser_a")),
            ("B", ("coefficients", "optimiser_b")),
        ):
            for field in fields:
                if (getattr(self, field) is not None) != (letter in self.stages):
                    need = "needs" if letter in self.stages else "does not take"
                    raise ValueError(f"a configuration of stages {self.stages} {need} {field}")
        return self

    @property
    def parent(self) -> Configuration | None:
        """The stage-A run that this AB configuration starts from, equal for every α and β; None means the base."""
        if self.stages != "AB":
            return None
        return self.model_copy(update={"stages": "A", "coefficients": None, "optimiser_b": None})

    @property
    def optimiser(self) -> OptimiserSettings:
        """The optimiser of this configuration's own stage (that of an AB configuration's stage A is its parent's)."""
        settings = self.optimiser_a if self.stages == "A" else self.optimiser_b
        assert settings is not None, "validated"
        return settings


def problem_of(error: ValidationError) -> str:
    """What is wrong with the first value that settings refuse, in one line."""
    return error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")


def canonical_hash(value: object, length: int = 12) -> str:
    """SHA-256 of the canonical JSON of a JSON-able value, shortened to `length` hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@functools.lru_cache(maxsize=2**15)  # a sweep asks for the same names over and over; a name takes 0.1 ms
def config_hash(configuration: Configuration) -> str:
    """The one name of a configuration: dedupe, resume, the stage cache and the MLflow tags all use it.

    The test folds do not train or select anything, so they are left out.
    """
    values = configuration.for_hash()
    del values["data"]["test_folds"]
    if not configuration.model.pretrained:
        for name in ("trainable", "weights"):  # it has no choice of these
            del values["model"][name]
    return canonical_hash(values)


def with_seed(configuration: Configuration, seed: int) -> Configuration:
    """What `seed` trains: the configuration itself, or with `vary_draws` one whose base and composites are its own.

    Only what is trained changes: the evaluation draws and the classes held out stay those of `draw_seed`, so that all
    seeds are asked the same questions. Seeds that change no more than the order of batches understate how much a
    result varies.
    """
    if not configuration.vary_draws:
        return configuration
    data, model = configuration.data, configuration.model
    own = data.draw_seed if data.train_draw_seed is None else data.train_draw_seed
    return configuration.model_copy(
        update={
            "data": data.model_copy(update={"train_draw_seed": own + seed}),
            "model": model.model_copy(update={"base_seed": model.base_seed + seed}),
        }
    )


def from_record(record: dict[str, Any]) -> Configuration:
    """The configuration of a record that any version wrote: a field that it lacks has the value it had before it came.

    Raises pydantic's ValidationError if the record has other fields or values than a configuration has.
    """
    return Configuration.model_validate(_completed(record, Configuration))


def _completed(record: dict[str, Any], kind: type[Settings]) -> dict[str, Any]:
    parts: dict[str, type[Settings]] = {
        "model": ModelSettings,
        "data": DataSettings,
        "coefficients": LossCoefficients,
        "optimiser_a": OptimiserSettings,
        "optimiser_b": OptimiserSettings,
        "base": OptimiserSettings,
    }
    filled = {**kind.meant_before, **record}
    return {
        name: _completed(value, parts[name]) if name in parts and isinstance(value, dict) else value
        for name, value in filled.items()
    }
