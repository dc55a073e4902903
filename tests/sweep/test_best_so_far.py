"""The best of a search, told trial by trial."""

from tclap.sweep.best_so_far import BestSoFar
from tclap.sweep.stopping import parse_guard


def scores(order: float, task_1: float) -> dict[str, float]:
    return {"zste/order": order, "zste/1": task_1}


def test_each_line_names_the_best_or_says_that_this_is_it():
    best = BestSoFar("zste/order")
    assert best.line("a") == ""
    lines = []
    for name, order in (("a", 50.0), ("b", 97.84), ("c", 97.84), ("d", 60.0)):
        best.tell(name, scores(order, 100.0))
        lines.append(best.line(name))
    assert lines == ["best so far", "best so far", "best 97.8 (b)", "best 97.8 (b)"]


def test_what_a_guard_rules_out_or_has_no_score_is_not_the_best():
    best = BestSoFar("zste/order", [parse_guard("zste/1>=70")])
    best.tell("forgets", scores(99.0, 60.0))
    best.tell("unscored", {"zste/order": 99.0})
    best.tell("other", {"zste/1": 90.0})
    assert best.line("forgets") == ""
    best.tell("keeps", scores(80.0, 70.0))
    assert best.line("forgets") == "best 80.0 (keeps)"
