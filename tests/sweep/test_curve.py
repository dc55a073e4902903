from tclap.sweep.curve import best_metrics, is_scored


def test_the_best_step_is_the_first_with_the_highest_value() -> None:
    curve = {
        50: {"zste/order": 70.0, "zste/1": 90.0},
        25: {"zste/order": 70.0, "zste/1": 95.0},
        75: {"zste/order": 60.0},
    }
    assert best_metrics(curve) == {
        "best/zste/order": 70.0,
        "best_step/zste/order": 25,
        "best/zste/1": 95.0,
        "best_step/zste/1": 25,
    }
    assert best_metrics({}) == {}


def test_no_step_is_scored_unless_asked_for() -> None:
    assert [step for step in range(1, 10) if is_scored(step, 4)] == [4, 8]
    assert not any(is_scored(step, 0) for step in range(10))
