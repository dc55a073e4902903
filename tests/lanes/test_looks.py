"""A seed that is scored in the middle of its stage, through experiment.py: the same end, and its curve."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tclap.config import config_hash, with_seed
from tclap.experiment import Stopped, Workspace, base_of, evaluate, open_workspace, train
from tclap.lanes.looks import Looks
from tclap.report.tables import result_frame
from tclap.sweep.ledger import Result
from tclap.training import checkpoint
from tclap.training.stage import State
from tests.tracking.conftest import configuration

CONFIGURATION = configuration(6)


class Run:
    """What of MLflow a look has to do with."""

    def __init__(self) -> None:
        self.logged: list[int] = []

    def score(self, step: int, values: Mapping[str, float]) -> None:
        self.logged.append(step)


@pytest.fixture(scope="module")
def workspace(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return open_workspace(root, tmp_path_factory.mktemp("looks"))


def trained(
    workspace: Workspace, every: int, resume: State | None = None, stop_after: int | None = None
) -> tuple[Result, Run, list[State]]:
    """What the worker does with a seed; `stop_after` so many steps it is asked to stop."""
    data = CONFIGURATION.data
    model = checkpoint.load(base_of(workspace, CONFIGURATION))
    run, states, steps = Run(), [], []
    looks = Looks(every, lambda: evaluate(workspace, data, model, data.eval_folds), run, resume)  # type: ignore[arg-type]
    try:
        train(
            workspace,
            with_seed(CONFIGURATION, 0),
            model,
            seed=0,
            report=lambda step, metrics: steps.append(step),
            resume=resume,
            keep=lambda state: states.append(looks.with_curve(state)),
            keep_every=4,
            should_stop=lambda: stop_after is not None and len(steps) == stop_after,
            look=looks.look,
            look_at=looks.at,
        )
    except Stopped:
        return Result("", 0, {}, 1.0, len(steps), "here"), run, states
    scores = evaluate(workspace, data, model, data.eval_folds)
    if every:
        looks.add(6, scores)
    return Result("", 0, scores, 1.0, 6, "here", curve=looks.curve), run, states


def test_scores_at_the_end_are_the_same_to_the_last_digit_and_the_curve_ends_there(workspace: Workspace) -> None:
    plain, _, _ = trained(workspace, 0)
    curved, run, _ = trained(workspace, 2)
    assert curved.scores == plain.scores
    assert plain.curve == {}
    assert list(curved.curve) == [2, 4, 6]
    assert run.logged == [2, 4]  # the last is logged with the run's end
    assert curved.curve[2] != curved.curve[6]
    (row,) = result_frame([CONFIGURATION], {(config_hash(CONFIGURATION), 0): curved}).to_dict("records")
    for name, value in curved.curve[6].items():
        assert row[name.removeprefix("zste/")] == value


def test_a_seed_that_is_taken_up_again_has_the_curve_of_one_that_was_never_stopped(workspace: Workspace) -> None:
    whole, _, _ = trained(workspace, 2)
    _, first, states = trained(workspace, 2, stop_after=5)
    resumed, second, _ = trained(workspace, 2, resume=states[-1])
    assert [state["step"] for state in states] == [4, 5]
    assert (first.logged, second.logged) == ([2, 4], [2, 4])  # MLflow's run drops those that it has
    assert (resumed.curve, resumed.scores) == (whole.curve, whole.scores)
