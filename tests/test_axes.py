"""Axes follow from Configuration's own fields: each may vary, and what varies is told."""

from typing import Any, get_args, get_origin

import pytest

from tclap.axes import AXES, Axis, apply, expand, find_axis, label, parse_vary, shown, value_of, varying
from tclap.config import (
    Configuration,
    LossCoefficients,
    ModelSettings,
    OptimiserSettings,
    StageASettings,
    config_hash,
)
from tclap.errors import InputError


def ab(**changes: Any) -> Configuration:
    given = {
        "stages": "AB",
        "batch_size": 8,
        "model": ModelSettings(name="laion"),  # mini takes neither trainable nor weights
        "coefficients": LossCoefficients(),
        "stage_a": StageASettings(),
        "optimiser_a": OptimiserSettings(),
        "optimiser_b": OptimiserSettings(),
    }
    return Configuration(**{**given, **changes})


def b(**changes: Any) -> Configuration:
    return Configuration(
        **{
            "stages": "B",
            "batch_size": 8,
            "coefficients": LossCoefficients(),
            "optimiser_b": OptimiserSettings(),
            **changes,
        }
    )


def two_values(axis: Axis) -> list[str]:
    """Two values that a user could write, by the type of the field."""
    kind = axis.kinds[0]
    if axis.name == "model":
        return ["laion", "msclap-2022"]
    if axis.name in ("train_folds", "eval_folds", "test_folds"):
        return {"train_folds": ["1+2", "1"], "eval_folds": ["4", "4+6"], "test_folds": ["5", "5+7"]}[axis.name]
    if str(get_origin(kind)) == "typing.Literal":
        return [str(value) for value in get_args(kind) if value not in ("mini", "A")][:2]
    if get_origin(kind) is tuple:
        return ["this is {}", "the sound of {}"] if get_args(kind)[0] is str else ["1+2", "3"]
    return {bool: ["false", "true"], int: ["2", "3"], float: ["0.25", "0.75"], str: ["random", "none"]}[kind]


def fields_of(settings: Any, prefix: str = "") -> set[str]:
    """Every path below a dumped configuration that holds a value."""
    if not isinstance(settings, dict):
        return {prefix.removesuffix(".")}
    return set().union(*(fields_of(value, f"{prefix}{name}.") for name, value in settings.items()))


def test_every_field_of_configuration_is_an_axis() -> None:
    assert {path for axis in AXES for path in axis.paths} == fields_of(ab().model_dump())
    assert len({axis.name for axis in AXES}) == len(AXES)


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_every_axis_expands(axis: Axis) -> None:
    first, second = two_values(axis)
    start = ab()
    if axis.name.endswith("epoch_steps"):  # goes with one schedule alone
        schedule = find_axis(axis.name.replace("epoch_steps", "schedule"))
        start = apply(start, {schedule: "exponential", axis: 1})
    rows = expand([start], [parse_vary(f"{axis.name}={first},{second}")])
    if axis.name == "test_folds":  # no part of the hash: it trains and selects nothing
        assert [row.data.test_folds for row in rows] == [(5, 7)]
        return
    assert len({config_hash(row) for row in rows}) == 2
    assert axis.name in [found.name for found in varying(rows)]
    assert [shown(value_of(row, axis)) for row in rows] == [shown(axis.parse(first)), shown(axis.parse(second))]
    for path in axis.paths:
        assert find_axis(path).paths == (path,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrr=1", "'lrr'.*did you mean lr"),
        ("optimiser_b.weight_decoy=1", "did you mean optimiser_b.weight_decay"),
        ("decay=0.1", "did you mean weight_decay"),
        ("xyzzy=1", "'xyzzy'.*it may be stages, alpha_st"),
        ("lr", "write NAME=VALUE"),
        ("lr=", "write NAME=VALUE"),
        ("lr=fast", "lr=fast: Input should be a valid number"),
        ("lr=0", "lr=0: Input should be greater than 0"),
        ("lr=nan", "lr=nan: Input should be a finite number"),
        ("batch_size=1.5", "batch_size=1.5: Input should be a valid integer"),
        ("stages=C", "stages=C: Input should be 'A', 'B' or 'AB'"),
        ("train_folds=1+x", r"train_folds=1\+x: Input should be a valid integer"),
        ("lr=1e-3,0.001", "names a value twice"),
        ("lr=2:1", "2 is not below 1"),
        ("lr=1:2:cubic", "write LOW:HIGH"),
        ("alpha_st=0:1:log", "starts above 0"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_vary(text)
    assert "\n" not in str(caught.value)


def test_ranges_are_of_the_fields_own_type() -> None:
    decay = parse_vary("optimiser_b.weight_decay=0.01:0.1:log")
    assert (decay.axis.paths, decay.low, decay.high, decay.log) == (("optimiser_b.weight_decay",), 0.01, 0.1, True)
    batch = parse_vary("batch_size=8:64")
    assert (batch.low, batch.high, batch.log, batch.is_range) == (8, 64, False, True)
    assert isinstance(batch.low, int)
    assert not parse_vary("lr=1e-4").is_range
    with pytest.raises(InputError, match="a range is for a search"):
        expand([b()], [batch])


def test_a_list_is_the_product_and_holds_each_configuration_once() -> None:
    rows = expand([b(), ab(model=ModelSettings())], [parse_vary("lr=1e-4,3e-4"), parse_vary("alpha_same=0,1")])
    # α_same is stage A's, so that B alone does not split.
    assert [(row.stages, row.optimiser_b.lr, row.stage_a and row.stage_a.alpha_same) for row in rows] == [
        ("B", 1e-4, None),
        ("AB", 1e-4, 0),
        ("AB", 1e-4, 1),
        ("B", 3e-4, None),
        ("AB", 3e-4, 0),
        ("AB", 3e-4, 1),
    ]
    assert all(row.optimiser_a.lr == row.optimiser_b.lr for row in rows if row.optimiser_a and row.optimiser_b)
    assert [axis.name for axis in varying(rows)] == ["stages", "lr", "alpha_same"]


def test_two_variations_of_one_field_and_of_a_stage_that_nobody_has_are_refused() -> None:
    with pytest.raises(InputError, match=r"lr and optimiser_b.lr both set optimiser_b.lr"):
        expand([ab()], [parse_vary("lr=1e-4"), parse_vary("optimiser_b.lr=1e-3")])
    with pytest.raises(InputError, match="steps_a cannot vary: no configuration has a stage that takes it"):
        expand([b()], [parse_vary("steps_a=1,2")])


def test_three_alphas_with_and_without_a_learned_temperature() -> None:
    rows = expand([ab()], [parse_vary("alpha_st=0,0.5,1"), parse_vary("logit_scale=learned,fixed")])
    of = [(row.coefficients.alpha_st, row.optimiser_a.logit_scale, row.optimiser_b.logit_scale) for row in rows]
    assert of == [(alpha, scale, scale) for alpha in (0, 0.5, 1) for scale in ("learned", "fixed")]
    assert config_hash(rows[4]) == config_hash(ab())  # as before there was a choice
    assert label(rows[3], varying(rows)).endswith("logit_scale fixed")


def test_stages_bring_and_take_what_belongs_to_them() -> None:
    start = b(optimiser_b=OptimiserSettings(lr=0.5), coefficients=LossCoefficients(alpha_st=0))
    both = apply(start, {find_axis("stages"): "AB"})
    assert both.stage_a == StageASettings()
    assert both.optimiser_a == start.optimiser_b
    assert apply(both, {find_axis("stages"): "B"}) == start
    assert apply(both, {find_axis("stages"): "A"}) == both.parent


def test_values_that_do_not_go_together_are_one_line() -> None:
    with pytest.raises(InputError, match=r"trainable=all: mini takes neither"):
        apply(b(), {find_axis("trainable"): "all"})
    with pytest.raises(InputError, match="eval_folds=1: fold 1 is in both"):
        apply(b(), {find_axis("eval_folds"): (1,)})


def test_an_axis_of_both_stages_tells_only_while_they_agree() -> None:
    rates = [ab(optimiser_b=OptimiserSettings(lr=lr)) for lr in (1e-3, 1e-4)]
    assert [axis.name for axis in varying(rates)] == ["optimiser_b.lr"]
    with pytest.raises(ValueError, match=r"lr differs between the stages: 0.001 and 0.0001"):
        value_of(rates[1], find_axis("lr"))
    same = [ab(optimiser_a=OptimiserSettings(lr=lr), optimiser_b=OptimiserSettings(lr=lr)) for lr in (1e-3, 1e-4)]
    assert [axis.name for axis in varying(same)] == ["lr"]
    assert varying([]) == varying([ab()]) == []


def test_what_may_still_vary_is_named_in_its_place_whether_or_not_it_differs() -> None:
    rates = [b(optimiser_b=OptimiserSettings(lr=lr)) for lr in (1e-3, 1e-4)]
    besides = [find_axis("row_o"), find_axis("lr"), find_axis("alpha_st")]
    named = [axis.name for axis in varying(rates, besides)]
    assert sorted(named) == ["alpha_st", "lr", "row_o"]
    assert named == [axis.name for axis in AXES if axis.name in named]


def test_no_value_is_a_value() -> None:
    rows = expand([ab()], [parse_vary("weights=none,random")])
    assert [row.model.weights for row in rows] == [None, "random"]
    assert [axis.name for axis in varying(rows)] == ["weights"]


def test_labels_name_whatever_varies() -> None:
    rows = expand([b(), b().model_copy(update={"batch_size": 16})], [parse_vary("weight_decay=0.01,0.1")])
    assert label(rows[0]) == "B  α 1 1 1 1  β 1  batch 8"
    assert [label(row, varying(rows)) for row in rows] == [
        "B  α 1 1 1 1  β 1  batch 8  weight_decay 0.01",
        "B  α 1 1 1 1  β 1  batch 16  weight_decay 0.01",
        "B  α 1 1 1 1  β 1  batch 8  weight_decay 0.1",
        "B  α 1 1 1 1  β 1  batch 16  weight_decay 0.1",
    ]
    assert label(ab().parent, [find_axis("steps_a"), find_axis("steps_b")]) == "A  batch 8  steps_a 150"


def test_whole_numbers_are_shown_to_the_last_digit() -> None:
    assert [shown(value) for value in (20240101, 20240102, 0.25, 1.0, True)] == [
        "20240101",
        "20240102",
        "0.25",
        "1",
        "True",
    ]


def test_columns_and_symbols() -> None:
    assert [axis.column for axis in AXES[:8]] == [
        *("stage", "alpha_st", "alpha_ct", "alpha_so", "alpha_co", "beta", "batch_size", "lr")
    ]
    assert find_axis("alpha_st").symbol == "α_st"
