import itertools

import numpy as np
import pytest

from tclap.data.draws import (
    batch_schedule,
    check_batch_size,
    draw_pairs,
    draw_timings,
    held_out_classes,
    pair_bound,
)
from tclap.errors import InputError
from tests.helpers import index_only

DATA = index_only(classes=6, clips_per_fold=3)


def test_every_pair_gets_its_takes_from_the_right_clips() -> None:
    draws = draw_pairs(DATA, (2, 3), [0, 2, 3, 5], takes=20, seed=0)
    assert draws.classes.shape == draws.clips.shape == (6, 20, 2)
    np.testing.assert_array_equal(DATA.class_ids[draws.clips], draws.classes)
    assert set(DATA.folds[draws.clips].ravel()) == {2, 3}
    pairs = [{frozenset(pair) for pair in takes.tolist()} for takes in draws.classes]
    assert pairs == [{frozenset(pair)} for pair in itertools.combinations((0, 2, 3, 5), 2)]


def test_every_choice_occurs() -> None:
    draws = draw_pairs(DATA, (1, 2), range(6), takes=60, seed=0)
    for p in range(15):
        assert set(map(tuple, draws.classes[p].tolist())) == {
            tuple(draws.classes[p, 0].tolist()),
            tuple(draws.classes[p, 0, ::-1].tolist()),
        }
        assert set(draws.single_side[p]) == {0, 1}
    assert set(draws.clips.ravel()) == set(DATA.clips_in((1, 2)))
    forward = (draws.classes[..., 0] < draws.classes[..., 1]).mean()
    assert abs(forward - 0.5) < 4 * 0.5 / np.sqrt(15 * 60)  # either order as often: 4 standard errors
    assert not draws.says_after.any()


def test_which_clip_sounds_does_not_tell_its_place() -> None:
    """Each clip comes first about as often as second."""
    draws = draw_pairs(DATA, (1,), range(6), takes=200, seed=1)
    first = np.bincount(draws.clips[..., 0].ravel(), minlength=len(DATA.filenames))
    second = np.bincount(draws.clips[..., 1].ravel(), minlength=len(DATA.filenames))
    heard = DATA.clips_in((1,))
    assert (np.abs(first - second)[heard] < 4.5 * np.sqrt((first + second)[heard])).all()
    assert (first + second)[heard].min() > 0


def test_draws_are_seeded() -> None:
    one, same, other = (draw_pairs(DATA, (1,), range(6), 10, seed, 0.5) for seed in (0, 0, 1))
    for field in ("classes", "clips", "single_side", "says_after"):
        np.testing.assert_array_equal(getattr(one, field), getattr(same, field))
        assert not np.array_equal(getattr(one, field), getattr(other, field))


def test_timings_are_within_their_bounds_and_in_order() -> None:
    spans, alone = draw_timings((40, 50), seed=0, timing="drawn", purpose="training")
    np.testing.assert_array_equal(spans, alone)
    onset, length, second_onset, second_length = np.moveaxis(spans, -1, 0)
    for lengths in (length, second_length):
        assert lengths.min() >= 150
        assert lengths.max() <= 600
        assert lengths.min() < 155 < 595 < lengths.max()
    assert onset.min() == 0
    assert (onset + length <= second_onset).all()
    assert (second_onset + second_length).max() == 1000
    touching = (onset + length == second_onset).mean()
    assert touching == pytest.approx(0.5, abs=0.06)
    # No sound is longer, or later, than the other for being first.
    assert abs(length.mean() - second_length.mean()) < 10
    assert abs(onset.mean() - (1000 - second_onset - second_length).mean()) < 20


def test_midpoint_is_the_papers() -> None:
    joined, alone = draw_timings((2, 3), seed=0, timing="midpoint", purpose="training")
    assert joined.shape == alone.shape == (2, 3, 4)
    assert (joined == [0, 500, 500, 500]).all()
    assert (alone == [0, 1000, 1000, 0]).all()


def test_timing_changes_no_clips() -> None:
    drawn, midpoint = (draw_pairs(DATA, (1,), range(6), 10, 0, timing=timing) for timing in ("drawn", "midpoint"))
    for field in ("classes", "clips", "single_side", "says_after"):
        np.testing.assert_array_equal(getattr(drawn, field), getattr(midpoint, field))


@pytest.mark.parametrize("takes", [1, 4, 40])
def test_evaluation_draws_are_independent_of_training_draws(takes: int) -> None:
    """Over 200 seeds: which class comes first, which of three clips, and the first length, of the same pair and take.

    With the same number of takes the two used to be the same draws.
    """
    seeds = range(200)
    drawn = {
        purpose: [draw_pairs(DATA, (1,), range(6), takes, seed, purpose=purpose) for seed in seeds]
        for purpose in ("training", "evaluation", "order")
    }
    measures = {
        "order": lambda draws: (draws.classes[..., 0] < draws.classes[..., 1]).astype(float),
        "clip": lambda draws: draws.clips.min(axis=2).astype(float),
        "length": lambda draws: draws.timing[..., 1].astype(float),
    }
    for name, measure in measures.items():
        values = {
            purpose: np.stack([measure(draws) - measure(draws).mean() for draws in all_draws])
            for purpose, all_draws in drawn.items()
        }
        n = values["training"].size
        for other in ("evaluation", "order"):
            correlation = np.corrcoef(values["training"].ravel(), values[other].ravel())[0, 1]
            if name == "clip":  # clips are those of the pair: its part is taken out
                residual = [values[k] - values[k].mean(axis=(0, 2), keepdims=True) for k in ("training", other)]
                correlation = np.corrcoef(residual[0].ravel(), residual[1].ravel())[0, 1]
            assert abs(correlation) < 4 / np.sqrt(n), (name, other)


def test_after_fraction_changes_nothing_else() -> None:
    plain, mixed = (draw_pairs(DATA, (1,), range(6), 100, 0, fraction) for fraction in (0.0, 0.3))
    np.testing.assert_array_equal(plain.clips, mixed.clips)
    np.testing.assert_array_equal(plain.single_side, mixed.single_side)
    assert mixed.says_after.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 1500))
    assert draw_pairs(DATA, (1,), range(6), 100, 0, 1.0).says_after.all()


def test_the_paper_s_count() -> None:
    """50 classes and 2 takes: 7350 stage-B samples, three of each pair and take."""
    draws = draw_pairs(index_only(50), (1, 2, 3), range(50), takes=2, seed=0)
    assert 3 * draws.clips[..., 0].size == 7350


SIZES = [
    (1, 1),
    (3, 2),
    (3, 3),
    (10, 1),
    (10, 7),
    (10, 10),
    (45, 40),
    (45, 45),
    (45, 44),
    (45, 23),
    (1225, 512),
]


@pytest.mark.parametrize(("pairs", "size"), SIZES)
@pytest.mark.parametrize("takes", [1, 3])
def test_a_batch_never_holds_twins(pairs: int, size: int, takes: int) -> None:
    batches = batch_schedule(pairs, takes, size, steps=60, seed=0)
    assert batches.shape == (60, size, 2)
    assert all(len(set(batch)) == size for batch in batches[..., 0].tolist())
    assert batches[..., 0].min() >= 0
    assert batches[..., 0].max() < pairs
    assert set(batches[..., 1].ravel()) == set(range(takes))


@pytest.mark.parametrize(("pairs", "size"), SIZES)
def test_pairs_and_takes_are_used_equally_often(pairs: int, size: int) -> None:
    takes = 3
    batches = batch_schedule(pairs, takes, size, steps=60, seed=1)
    for steps in (1, 7, 60):
        used = np.bincount(batches[:steps, :, 0].ravel(), minlength=pairs)
        assert np.ptp(used) <= 1
        flat = batches[:steps, :, 0] * takes + batches[:steps, :, 1]
        by_take = np.bincount(flat.ravel(), minlength=pairs * takes).reshape(pairs, takes)
        assert np.ptp(by_take, axis=1).max() <= 1


def test_schedule_is_seeded() -> None:
    one, same, other = (batch_schedule(10, 2, 4, 20, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_longer_schedule_starts_as_a_shorter_one() -> None:
    np.testing.assert_array_equal(batch_schedule(10, 2, 4, 20, 0)[:8], batch_schedule(10, 2, 4, 8, 0))


def test_batches_are_mixed() -> None:
    """No pair always meets the same companions, not even where a batch is nearly all of them."""
    batches = batch_schedule(10, 1, 5, 200, 0)[..., 0].tolist()
    together = sum(0 in batch and 1 in batch for batch in batches)
    alone = sum((0 in batch) != (1 in batch) for batch in batches)
    assert together > 20
    assert alone > 20


@pytest.mark.parametrize(("classes", "bound"), [(2, 1), (3, 3), (10, 45), (50, 1225)])
def test_a_batch_over_the_bound_is_refused_with_it(classes: int, bound: int) -> None:
    assert pair_bound(classes) == bound
    check_batch_size(bound, classes)
    with pytest.raises(InputError, match=rf"batch size {bound + 1} .*bound of {bound}\b"):
        check_batch_size(bound + 1, classes)
    with pytest.raises(InputError, match=rf"bound of {bound}\b"):
        batch_schedule(bound, 1, bound + 1, 1, 0)


@pytest.mark.parametrize("holdout", [0, 1, 4])
def test_holdout_classes(holdout: int) -> None:
    held = held_out_classes(6, holdout, seed=0)
    assert len(set(held)) == holdout
    assert sorted(held) == held.tolist()
    assert set(held) <= set(range(6))
    np.testing.assert_array_equal(held, held_out_classes(6, holdout, seed=0))


def test_holdout_is_drawn_by_the_seed_and_grows() -> None:
    assert len({tuple(held_out_classes(50, 3, seed)) for seed in range(5)}) == 5
    assert set(held_out_classes(50, 3, 0)) < set(held_out_classes(50, 4, 0))


def test_holdout_leaves_a_pair() -> None:
    with pytest.raises(InputError, match="holdout_classes 5 leaves fewer than two of 6"):
        held_out_classes(6, 5, 0)
