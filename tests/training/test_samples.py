"""From draws to batches: that audio, captions and weights of a sample belong together."""

import numpy as np
import pytest
import torch

from tclap.config import DataSettings, LossCoefficients, StageASettings
from tclap.data.compose import JOIN, OVERLAY, SINGLE
from tclap.data.draws import PairDraws, batch_schedule, draw_pairs
from tclap.training.losses import stage_b_weights
from tclap.training.samples import Samples, base_stage, make_samples, stage_a, stage_b, training_draws
from tests.helpers import index_only

DATA = index_only(classes=5, clips_per_fold=3)
SCHEDULE = batch_schedule(10, 6, 7, steps=9, seed=0)


@pytest.fixture(scope="module", params=[0.0, 0.5], ids=["before", "before or after"])
def draws(request: pytest.FixtureRequest) -> PairDraws:
    return draw_pairs(DATA, (1, 2), range(5), takes=6, seed=0, after_fraction=request.param)


@pytest.fixture(scope="module")
def samples(draws: PairDraws) -> Samples:
    return make_samples(draws, DATA.class_names)


def heard(samples: Samples, row: int) -> tuple[int, str, str]:
    """Kind of a window and the names of what it holds, as it is rendered."""
    kind, first, second = samples.composites.rows()[row, :3]
    names = [DATA.class_names[DATA.class_ids[clip]] for clip in (first, second)]
    return int(kind), names[0], names[1]


def said(caption: str) -> tuple[str, str]:
    """(what sounds first, what sounds second) by an ordered caption."""
    if " before " in caption:
        first, second = caption.split(" before ")
    else:
        second, first = caption.split(" after ")
    return first, second


def test_stage_b_says_what_is_heard(samples: Samples, draws: PairDraws) -> None:
    stage = stage_b(samples, SCHEDULE, LossCoefficients())
    assert stage.audio_rows.shape == stage.captions.shape == (9, 7, 3)
    afters = set()
    for step, n in np.ndindex(9, 7):
        windows = [heard(samples, row) for row in stage.audio_rows[step, n]]
        forward, backward, overlay = stage.captions[step, n]
        assert [kind for kind, _, _ in windows] == [JOIN, JOIN, OVERLAY]
        assert windows[0][1:] == said(forward) == said(backward)[::-1]
        assert windows[1][1:] == said(backward)
        assert (" after " in forward) == (" after " in backward)
        assert set(windows[2][1:]) == set(overlay.split(" while ")) == set(said(forward))
        afters.add(" after " in forward)
        pair, take = SCHEDULE[step, n]
        assert {DATA.class_names[c] for c in draws.classes[pair, take]} == set(said(forward))
    assert afters == ({True, False} if draws.says_after.any() else {False})


def test_reversed_uses_the_same_clips_swapped_and_overlay_the_same(samples: Samples) -> None:
    rows = samples.composites.rows()
    forward, backward, overlay = (rows[samples.audio_rows[k]] for k in ("forward", "reversed", "overlay"))
    np.testing.assert_array_equal(forward[..., 1:3], backward[..., 2:0:-1])
    np.testing.assert_array_equal(np.sort(forward[..., 1:3]), overlay[..., 1:3])


def test_all_kinds_of_a_draw_sound_in_the_same_spans(samples: Samples, draws: PairDraws) -> None:
    rows = samples.composites.rows()
    for kind in ("single", "forward", "reversed", "overlay"):
        np.testing.assert_array_equal(rows[samples.audio_rows[kind]][..., 3:7], draws.timing, err_msg=kind)


def test_midpoint_samples_are_halves_and_whole_windows() -> None:
    made = make_samples(draw_pairs(DATA, (1, 2), range(5), takes=6, seed=0, timing="midpoint"), DATA.class_names)
    rows = made.composites.rows()
    for kind in ("forward", "reversed"):
        assert (rows[made.audio_rows[kind]][..., 3:7] == [0, 500, 500, 500]).all()
    for kind in ("single", "overlay"):
        assert (rows[made.audio_rows[kind]][..., 3:7] == [0, 1000, 1000, 0]).all()


def test_training_draws_may_have_a_seed_of_their_own() -> None:
    plain, same, other = (
        training_draws(DATA, DataSettings(takes=6, train_draw_seed=seed), np.arange(5)) for seed in (None, 0, 1)
    )
    np.testing.assert_array_equal(plain.clips, same.clips)
    np.testing.assert_array_equal(plain.timing, same.timing)
    assert not np.array_equal(plain.clips, other.clips)
    assert not np.array_equal(plain.timing, other.timing)


def test_stage_a_says_what_is_heard(samples: Samples) -> None:
    stage = stage_a(samples, SCHEDULE, StageASettings())
    assert stage.audio_rows.shape == stage.captions.shape == (9, 7, 2)
    for step, n in np.ndindex(9, 7):
        alone, both = (heard(samples, row) for row in stage.audio_rows[step, n])
        single, combined = stage.captions[step, n]
        assert (alone[0], both[0]) == (SINGLE, JOIN)
        assert single == f"single sound of {alone[1]}"
        assert combined == f"combined sound of {both[1]} and {both[2]}"
        assert alone[1] in both[1:]


def test_stage_a_weights_are_those_of_its_captions(samples: Samples) -> None:
    stage = stage_a(samples, SCHEDULE, StageASettings(alpha_same=0.25, alpha_diff=0.5))
    for step in range(9):
        weights = stage.weights(step)
        singles, combined = stage.captions[step].T
        for i, j in np.ndindex(7, 7):
            assert weights[i, j] == (1 if i == j or singles[i] != singles[j] else 0)
            holds = singles[i].removeprefix("single sound of ") in combined[j].removeprefix("combined sound of ").split(
                " and "
            )
            assert weights[i, 7 + j] == weights[7 + j, i] == (0.25 if holds else 0.5)


def test_stage_b_weights_and_beta_are_the_coefficients(samples: Samples) -> None:
    c = LossCoefficients(alpha_st=0, alpha_co=0.5, beta=0.25)
    stage = stage_b(samples, SCHEDULE, c)
    assert torch.equal(stage.weights(3), stage_b_weights(7, c))
    assert stage.beta == 0.25


def test_no_window_is_kept_twice(samples: Samples) -> None:
    rows = samples.composites.rows()
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert set(np.concatenate([r.ravel() for r in samples.audio_rows.values()])) == set(range(len(rows)))


def test_base_stage_says_what_is_heard() -> None:
    classes = np.array([2, 0, 1, 2])
    schedule = np.array([[0, 1, 2], [3, 0, 1]])
    stage = base_stage(classes, ("a", "b", "c"), schedule)
    assert stage.captions[..., 0].tolist() == [
        ["The sound of c", "The sound of a", "The sound of b"],
        ["The sound of c", "The sound of c", "The sound of a"],
    ]
    np.testing.assert_array_equal(stage.audio_rows[..., 0], schedule)
    assert stage.weights(0).tolist() == [[1, 1, 1]] * 3
    assert stage.weights(1).tolist() == [[1, 0, 1], [0, 1, 1], [1, 1, 1]]
    assert stage.beta == 1
