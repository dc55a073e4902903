import re

import pytest
from pydantic import ValidationError

from tclap.config import (
    COEFFICIENTS,
    Configuration,
    DataSettings,
    LossCoefficients,
    ModelSettings,
    OptimiserSettings,
    StageASettings,
    canonical_hash,
    config_hash,
    from_record,
    with_seed,
)


def ab(**changes: object) -> Configuration:
    settings: dict = {
        "stages": "AB",
        "batch_size": 40,
        "coefficients": LossCoefficients(),
        "stage_a": StageASettings(),
        "optimiser_a": OptimiserSettings(),
        "optimiser_b": OptimiserSettings(),
    }
    return Configuration(**(settings | changes))


@pytest.mark.parametrize(
    "kind",
    [LossCoefficients, StageASettings, OptimiserSettings, DataSettings, ModelSettings],
)
def test_unknown_keys_raise(kind: type) -> None:
    with pytest.raises(ValidationError, match="learning_rate"):
        kind(learning_rate=1)


def test_unknown_keys_raise_in_a_configuration() -> None:
    with pytest.raises(ValidationError, match="seed"):
        ab(seed=1)
    with pytest.raises(ValidationError, match="alpha_xx"):
        ab(coefficients={"alpha_xx": 1})


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ab().batch_size = 3  # type: ignore[misc]


def test_hash_is_stable() -> None:
    """Finished sweeps are found by this name: where it must change, say so in the notes of the release."""
    assert config_hash(ab(data=DataSettings(timing="midpoint"))) == "1215b6809260"
    assert config_hash(ab()) == "6b91228a0b41"
    assert canonical_hash({"b": 1, "a": [0.5, None]}) == "a0e9efb45133"
    assert canonical_hash({"a": [0.5, None], "b": 1}) == canonical_hash({"b": 1, "a": [0.5, None]})


def test_hash_ignores_test_folds_alone() -> None:
    base = config_hash(ab())
    assert config_hash(ab(data=DataSettings(test_folds=()))) == base
    assert config_hash(ab(data=DataSettings(eval_folds=(4, 5), test_folds=()))) != base


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 41},
        {"data": DataSettings(takes=41)},
        {"data": DataSettings(train_folds=(1, 2))},
        {"coefficients": LossCoefficients(alpha_st=0)},
        {"coefficients": LossCoefficients(beta=0)},
        {"stage_a": StageASettings(alpha_diff=0)},
        {"optimiser_a": OptimiserSettings(steps=151)},
        {"optimiser_b": OptimiserSettings(lr=1e-4)},
        {"model": ModelSettings(base_seed=1)},
        {"data": DataSettings(timing="midpoint")},
        {"data": DataSettings(train_draw_seed=0)},
        {"data": DataSettings(prompts=("this is a sound of {}",))},
        {"coefficients": LossCoefficients(row_o="alpha")},
        {"optimiser_b": OptimiserSettings(schedule="constant")},
        {"model": ModelSettings(base=OptimiserSettings(steps=100, schedule="exponential", epoch_steps=9))},
        {"vary_draws": True},
    ],
    ids=str,
)
def test_hash_sees_what_changes_the_numbers(changes: dict) -> None:
    assert config_hash(ab(**changes)) != config_hash(ab())


def test_hash_does_not_tell_1_from_1_0() -> None:
    as_int = LossCoefficients(alpha_st=1, alpha_ct=0, alpha_so=1, alpha_co=1, beta=1)
    as_float = LossCoefficients(alpha_st=1.0, alpha_ct=0.0, alpha_so=1.0, alpha_co=1.0, beta=1.0)
    assert config_hash(ab(coefficients=as_int)) == config_hash(ab(coefficients=as_float))


def test_a_record_of_an_older_version_keeps_its_name_and_its_meaning() -> None:
    """What the version before timings wrote: every field that came later is missing."""
    old = ab(data=DataSettings(timing="midpoint"))
    record = old.model_dump(mode="json")
    del record["vary_draws"], record["coefficients"]["row_o"]
    for name in ("timing", "train_draw_seed", "prompts"):
        del record["data"][name]
    for optimiser in (record["optimiser_a"], record["optimiser_b"], record["model"]["base"]):
        del optimiser["schedule"], optimiser["epoch_steps"]
    assert from_record(record) == old
    assert config_hash(from_record(record)) == "1215b6809260"
    assert from_record(ab().model_dump(mode="json")) == ab()


def test_a_seed_changes_the_draws_only_if_it_is_asked_to() -> None:
    assert with_seed(ab(), 3) == ab()
    varied = ab(vary_draws=True, data=DataSettings(draw_seed=5), model=ModelSettings(base_seed=2))
    first, second = with_seed(varied, 0), with_seed(varied, 1)
    assert (first.data.train_draw_seed, second.data.train_draw_seed) == (5, 6)
    assert (first.model.base_seed, second.model.base_seed) == (2, 3)
    # The evaluation and the classes held out are drawn by draw_seed.
    assert first.data.draw_seed == second.data.draw_seed == 5
    assert second.model_copy(update={"data": varied.data, "model": varied.model}) == varied


@pytest.mark.parametrize("prompts", [(), ("no place",), ("{} and {}",), ("{0}",), ("a {}", "a {}")], ids=str)
def test_prompts_have_one_place_for_the_class(prompts: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="prompt"):
        DataSettings(prompts=prompts)


def test_epochs_go_with_the_exponential_schedule() -> None:
    for bad in ({"schedule": "exponential"}, {"epoch_steps": 3}, {"schedule": "constant", "epoch_steps": 3}):
        with pytest.raises(ValidationError, match="epoch_steps"):
            OptimiserSettings(**bad)


def test_a_configuration_survives_json() -> None:
    again = Configuration.model_validate_json(ab().model_dump_json())
    assert again == ab()
    assert config_hash(again) == config_hash(ab())


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        ({"train_folds": (1, 4)}, "fold 4 is in both train_folds and eval_folds"),
        ({"train_folds": (1, 5)}, "fold 5 is in both train_folds and test_folds"),
        ({"eval_folds": (4, 5)}, "fold 5 is in both eval_folds and test_folds"),
        ({"train_folds": ()}, "train_folds is empty"),
        ({"eval_folds": ()}, "eval_folds is empty"),
        ({"train_folds": (1, 1)}, "names a fold twice"),
    ],
)
def test_folds_are_disjoint_sets(folds: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DataSettings(**folds)


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf")])
@pytest.mark.parametrize("field", COEFFICIENTS)
def test_coefficients_are_finite_and_not_negative(field: str, bad: float) -> None:
    with pytest.raises(ValidationError, match=field):
        LossCoefficients(**{field: bad})


@pytest.mark.parametrize(
    "bad",
    [{"steps": 0}, {"lr": 0}, {"lr": float("inf")}, {"warmup_fraction": 1.5}, {"grad_clip": 0}],
    ids=str,
)
def test_optimiser_settings_are_checked(bad: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(bad))):
        OptimiserSettings(**bad)


def test_batch_size_is_positive() -> None:
    with pytest.raises(ValidationError, match="batch_size"):
        ab(batch_size=0)


def test_model_is_a_known_one() -> None:
    with pytest.raises(ValidationError, match="mini"):
        ModelSettings(name="maxi")


@pytest.mark.parametrize(
    "changes",
    [
        {"stage_a": None},
        {"optimiser_a": None},
        {"coefficients": None},
        {"optimiser_b": None},
        {"stages": "B"},
        {"stages": "A"},
    ],
    ids=str,
)
def test_stages_take_exactly_their_settings(changes: dict) -> None:
    with pytest.raises(ValidationError, match="a configuration of stages"):
        ab(**changes)


def test_stage_a_is_shared_by_all_coefficients() -> None:
    shared = {
        ab(
            coefficients=LossCoefficients(alpha_st=st, alpha_so=so, beta=beta),
            optimiser_b=OptimiserSettings(steps=10 + int(st)),
        ).parent
        for st in (0, 1)
        for so in (0, 1)
        for beta in (0, 1)
    }
    assert len(shared) == 1
    (one,) = shared
    assert one.stages == "A"
    assert one.stage_a == StageASettings()
    # model_copy does not validate, so make sure that what it made is a valid configuration
    assert Configuration.model_validate(one.model_dump()) == one
    assert config_hash(one) != config_hash(ab())


@pytest.mark.parametrize("changes", [{"batch_size": 20}, {"stage_a": StageASettings(beta=0)}], ids=str)
def test_stage_a_is_another_for_other_settings(changes: dict) -> None:
    assert ab(**changes).parent != ab().parent


def test_only_ab_starts_from_stage_a() -> None:
    alone = Configuration(stages="B", batch_size=4, coefficients=LossCoefficients(), optimiser_b=OptimiserSettings())
    assert alone.parent is None


@pytest.mark.parametrize("name", ["mini", "laion", "hf:laion/larger_clap_general", "my_models.clap:build"])
def test_models_have_names_of_four_kinds(name: str) -> None:
    assert ModelSettings(name=name).name == name


@pytest.mark.parametrize("name", ["mni", "hf:", "no such", "a:b:c", "../x:y"])
def test_any_other_name_is_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(ValidationError, match=f"unknown model '{re.escape(name)}'; known models: mini, msclap-2022"):
        ModelSettings(name=name)
    with pytest.raises(ValidationError, match="did you mean mini"):
        ModelSettings(name="mni")


def test_what_a_model_is_besides_its_name_is_part_of_the_hash() -> None:
    one, other = (ab(model=ModelSettings(name="m:build", identity=identity)) for identity in ("1", "2"))
    assert config_hash(one) != config_hash(other)
    assert config_hash(ab(model=ModelSettings(name="laion"), data=DataSettings(timing="midpoint"))) == "195bb2e37ae2"
