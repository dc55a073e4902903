"""What a search may vary besides its own flags."""

import pytest
from pydantic import ValidationError

from tclap.search_flags import OBJECTIVES, SearchSettings
from tclap.sweep.space import Range


def settings(*vary: str, **more: object) -> SearchSettings:
    return SearchSettings(vary=vary, _cli_parse_args=False, **more)


def test_any_field_is_an_axis_of_the_space() -> None:
    search = settings("optimiser_b.weight_decay=0,0.1", "takes=3,4")
    assert search.choices()["optimiser_b.weight_decay"] == (0.0, 0.1)
    point = {name: values[-1] for name, values in search.choices().items()}
    found = search.at(point)
    assert found.optimiser_b is not None
    assert (found.optimiser_b.weight_decay, found.data.takes, found.stages) == (0.1, 4, "AB")


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("lr=1e-4:1e-3:log", "each number of a range would need features or a stage-A run of its own"),
        ("takes=10:40", "each number of a range would need features"),
        ("batch_size=8,16", "flags of its own"),
        ("alpha_same=0,1", "stages B have none; choose other --stages"),
        ("weight=1", "nothing is called 'weight'"),
    ],
)
def test_what_a_search_cannot_vary_is_one_line(vary: str, message: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=message):
        settings(vary)


def test_a_range_is_for_what_stage_b_alone_reads() -> None:
    search = settings("optimiser_b.weight_decay=0.001:0.1:log", "alpha_st=0:2")
    assert search.choices()["optimiser_b.weight_decay"] == Range(0.001, 0.1, log=True)
    assert search.choices()["alpha_st"] == Range(0.0, 2.0)
    point = {name: values.high if isinstance(values, Range) else values[0] for name, values in search.choices().items()}
    found = search.at(point)
    assert found.optimiser_b is not None
    assert found.coefficients is not None
    assert (found.optimiser_b.weight_decay, found.coefficients.alpha_st) == (0.1, 2)
    assert settings("lr=1e-4:1e-3:log", stages=("B",)).choices()["lr"] == Range(1e-4, 1e-3, log=True)
    with pytest.raises(ValidationError, match="a grid goes through lists of values"):
        settings("alpha_st=0:2", sampler="grid")


def test_three_values_of_a_coefficient() -> None:
    assert settings("alpha_st=0,0.5,1").choices()["alpha_st"] == (0, 0.5, 1)


def test_stage_as_settings_vary_if_every_configuration_has_that_stage() -> None:
    search = settings("alpha_same=0,1", stages=("AB",))
    assert search.choices()["alpha_same"] == (0.0, 1.0)


def test_objectives_are_metrics_as_mlflow_names_them() -> None:
    assert {"zste/order", "zste/3A", "zste/4A_hard", "order/moved"} <= set(OBJECTIVES)
    assert "zste/order/moved" not in OBJECTIVES


def test_looking_and_stopping_are_no_part_of_what_a_name_stands_for() -> None:
    looked_at = settings(evaluate_every=25, stop_early=True, guard=("zste/1>=70", "order/bias<40"))
    assert looked_at.identity() == settings().identity()
    assert [str(guard) for guard in looked_at.guards()] == ["zste/1>=70", "order/bias<40"]


def test_only_scores_with_an_interval_can_guard() -> None:
    with pytest.raises(ValidationError, match="guard zste/order>=70: only scores with an interval can guard: zste/1, "):
        settings(guard=("zste/order>=70",))


def test_every_flag_says_what_it_is() -> None:
    assert [name for name, field in SearchSettings.model_fields.items() if not field.description] == []
