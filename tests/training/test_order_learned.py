"""What training teaches of order, on the synthetic default: with drawn timing order, with the paper's a half of the
window; and files of other lengths than a window are heard as well as the measures promise."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tclap.config import Configuration, LossCoefficients, with_seed
from tclap.data.audio import decode
from tclap.data.compose import event
from tclap.data.synth import write_dataset
from tclap.evaluation.order import CASES, curve
from tclap.evaluation.similarity import LONGER, similarities
from tclap.evaluation.statistics import Score
from tclap.experiment import Workspace, base_of, evaluate, open_workspace, train
from tclap.flags import SweepSettings
from tclap.models.protocol import ContrastiveModel
from tclap.training import checkpoint

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Trained:
    model: ContrastiveModel
    scores: dict[str, Score]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("order")
    return open_workspace(write_dataset(folder / "synth"), folder / "cache")


def trained(workspace: Workspace, **flags: object) -> Trained:
    """Row α 1 1 1 1 of the default sweep, stage B alone."""
    settings = SweepSettings(**flags)
    configuration: Configuration = settings.configuration("B", LossCoefficients(), settings.batch_sizes[0])
    model = checkpoint.load(base_of(workspace, configuration))
    train(workspace, configuration, model, seed=0)
    return Trained(model, evaluate(workspace, configuration.data, model, configuration.data.eval_folds))


@pytest.fixture(scope="module")
def drawn(workspace: Workspace) -> Trained:
    return trained(workspace)


def test_drawn_timing_teaches_order_wherever_the_change_lies(drawn: Trained) -> None:
    assert drawn.scores["order/moved"].value > 90
    for case in CASES:
        assert drawn.scores[f"order/{case}"].value >= 80, case


def test_the_default_leaves_no_case_weak_where_fewer_steps_did(workspace: Workspace) -> None:
    """A and B, and the seed with the weakest case after 300 steps: see docs/measurements.md."""
    settings = SweepSettings(vary_draws=True)
    configuration = with_seed(settings.configuration("AB", LossCoefficients(), settings.batch_sizes[0]), 1)
    model = checkpoint.load(base_of(workspace, configuration))
    for stage in (configuration.parent, configuration):
        assert stage is not None
        train(workspace, stage, model, seed=1)
    scores = evaluate(workspace, configuration.data, model, configuration.data.eval_folds)
    assert scores["order/moved"].value > 90
    for case in CASES:
        assert scores[f"order/{case}"].value >= 80, case


def test_the_papers_timing_teaches_a_half_of_the_window(workspace: Workspace) -> None:
    scores = trained(workspace, timing="midpoint", steps_b=300).scores
    assert scores["3A_order"].value == 100
    assert scores["order/moved"].value < scores["3A_order"].value - 10
    shown = curve(scores).set_index("change")["value"]
    assert shown[0.5] > 95
    assert shown.min() == shown[0.9] < shown[0.5] - 15  # it falls towards the ends
    for case in ("first_half", "last_half"):  # where both sounds lie in one half, it knows nothing
        assert abs(scores[f"order/{case}"].value - 50) < 15, case


@pytest.mark.parametrize(("seconds", "case"), [(0.5, "order/first_half"), (2.0, "order/moved"), (3.0, "order/moved")])
def test_files_of_other_lengths_are_heard_as_well_as_promised(
    drawn: Trained, workspace: Workspace, tmp_path: Path, seconds: float, case: str
) -> None:
    """Two sounds of `seconds` one after the other, every pair of classes in both orders: mini's window is 2 s long.

    Half a second each is padded, which is the case first_half.
    """
    dataset, rate_hz = workspace.dataset, drawn.model.sample_rate_hz
    rng = np.random.default_rng(0)
    clips = dataset.clips_in([4])
    asked: list[tuple[str, str, str]] = []
    for i in range(len(dataset.class_names)):
        for j in range(i):
            chosen = [int(rng.choice(clips[dataset.class_ids[clips] == c])) for c in (i, j)]
            sounds = [event(decode(dataset.path(clip), rate_hz), round(seconds * rate_hz)) for clip in chosen]
            names = [dataset.class_names[c] for c in (i, j)]
            for order in ([0, 1], [1, 0]):
                path = tmp_path / f"{i}-{j}-{order[0]}.wav"
                soundfile.write(path, np.concatenate([sounds[k] for k in order]) / 2, rate_hz, subtype="FLOAT")
                asked.append((str(path), names[order[0]], names[order[1]]))
    texts = sorted({f"{a} before {b}" for _, first, second in asked for a, b in ((first, second), (second, first))})
    found = similarities(drawn.model, [path for path, _, _ in asked], texts)
    right = [found.loc[path, f"{a} before {b}"] > found.loc[path, f"{b} before {a}"] for path, a, b in asked]
    assert 100 * np.mean(right) >= drawn.scores[case].low
    assert len(found.attrs[LONGER]) == (len(asked) if 2 * seconds > drawn.model.window_s else 0)
