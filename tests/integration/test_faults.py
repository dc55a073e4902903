"""kill -9 in the middle: nothing is lost, nothing is there twice, and the table is that of an undisturbed sweep."""

import pytest

from tests.integration import chaos

TARGETS = ("worker", "trial driver", "script", "MLflow server", "node")
MOMENTS = {"stage A": ("A", 50), "stage B": ("B", 50), "evaluation": ("B", 120)}


@pytest.fixture(scope="module")
def place(root, tmp_path_factory):
    with chaos.a_place(root, tmp_path_factory.mktemp("chaos")) as place:
        yield place


@pytest.fixture(scope="module")
def undisturbed(place):
    running = chaos.launch(place, "undisturbed")
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    return chaos.table(running)


def test_five_kills_in_one_sweep(place, undisturbed):
    """Each part once, spread over stage A, stage B and evaluation."""
    running = chaos.launch(place, "five")
    for target, stage, step in (
        ("worker", "A", 50),
        ("node", "A", 100),
        ("trial driver", "A", 120),  # evaluating
        ("MLflow server", "B", 50),
        ("script", "B", 120),  # evaluating
    ):
        chaos.wait_until_in(running, stage, step)
        running = chaos.disturb(running, target)
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    assert chaos.table(running) == undisturbed


@pytest.mark.chaos
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("target", TARGETS)
def test_one_kill(place, undisturbed, target, moment):
    running = chaos.launch(place, f"{target}-{moment}".replace(" ", "-"))
    chaos.wait_until_in(running, *MOMENTS[moment])
    running = chaos.disturb(running, target)
    running.finish()
    chaos.assert_nothing_lost_or_twice(running)
    assert chaos.table(running) == undisturbed
