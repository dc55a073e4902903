"""What a search may vary besides its own flags."""

import pytest
from pydantic import ValidationError

from tclap.search_flags import OBJECTIVES, SearchSettings


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
        ("lr=1e-4:1e-3:log", "not ranges, so far"),
        ("beta=0,1", "flags of its own"),
        ("alpha_same=0,1", "stages B have none; choose other --stages"),
        ("weight=1", "nothing is called 'weight'"),
    ],
)
def test_what_a_search_cannot_vary_is_one_line(vary: str, message: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=message):
        settings(vary)


def test_stage_as_settings_vary_if_every_configuration_has_that_stage() -> None:
    search = settings("alpha_same=0,1", stages=("AB",))
    assert search.choices()["alpha_same"] == (0.0, 1.0)


def test_objectives_are_metrics_as_mlflow_names_them() -> None:
    assert {"zste/order", "zste/3A", "zste/4A_hard", "order/moved"} <= set(OBJECTIVES)
    assert "zste/order/moved" not in OBJECTIVES
