import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tclap.data import audio, compose, synth
from tclap.data import dataset as datasets
from tclap.data.compose import EVENT_RMS, JOIN, OVERLAY, SINGLE, WINDOW_RMS, Composites, EventBank, event
from tclap.data.dataset import Dataset
from tclap.data.draws import draw_pairs
from tclap.errors import InputError
from tclap.training.samples import make_samples

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "esc50"
RATE = 16_000
WINDOW_S = 2.0
T = 32_000


def rms(wave: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(wave, dtype=np.float64), axis=-1))


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def test_event_is_the_loudest_part() -> None:
    clip = 0.01 * noise(5000)
    clip[3210:4210] += 0.3 * np.sign(noise(1000, 1))
    found = event(clip, 1000)
    part = clip[3210:4210]
    np.testing.assert_allclose(found, part * (EVENT_RMS / rms(part)), rtol=1e-5)
    loudest = max(range(4001), key=lambda start: rms(clip[start : start + 1000]))
    assert loudest == 3210


@pytest.mark.parametrize("at", [0, 1, 2500, 4000])
def test_event_finds_the_loudest_part_wherever_it_is(at: int) -> None:
    clip = np.full(5000, 0.001, np.float32)
    clip[at : at + 1000] = np.linspace(0.1, 0.2, 1000)
    found = event(clip, 1000)
    np.testing.assert_allclose(found / found[0], np.linspace(1, 2, 1000), rtol=1e-5)


def test_event_takes_the_earliest_of_equally_loud_parts() -> None:
    clip = np.zeros(1000, np.float32)
    clip[200:210] = 0.5
    clip[600:610] = -0.5  # powers of two: the sums are exact, and so is the tie
    found = event(clip, 10)
    assert (found > 0).all()


@pytest.mark.parametrize("length", [1, 700, 999])
def test_a_shorter_clip_is_padded_at_its_end(length: int) -> None:
    clip = np.sign(noise(length))
    found = event(clip, 1000)
    assert found.shape == (1000,)
    assert (found[length:] == 0).all()
    np.testing.assert_allclose(found[:length] / found[0], clip / clip[0], rtol=1e-5)
    assert rms(found) == pytest.approx(min(EVENT_RMS, rms(np.pad(clip, (0, 1000 - length)))), rel=1e-5)


def test_a_clip_of_the_very_length_is_kept_whole() -> None:
    clip = noise(1000)
    np.testing.assert_allclose(event(clip, 1000), clip * (EVENT_RMS / rms(clip)), rtol=1e-5)


def test_the_peak_does_not_pass_1() -> None:
    clip = np.zeros(1000, np.float32)
    clip[500] = -0.2
    found = event(clip, 1000)  # EVENT_RMS would need a peak of 3.2
    assert np.abs(found).max() == pytest.approx(1.0)
    assert rms(found) < EVENT_RMS
    loud = event(100 * noise(1000), 1000)
    assert rms(loud) == pytest.approx(EVENT_RMS, rel=1e-5)


def test_event_does_not_change_its_clip_and_is_deterministic() -> None:
    clip = noise(3000)
    before = clip.copy()
    np.testing.assert_array_equal(event(clip, 1000), event(clip, 1000))
    np.testing.assert_array_equal(clip, before)


def bank(t: int) -> EventBank:
    clips = [noise(3 * t, seed) for seed in range(3)]
    whole, half = (np.stack([event(clip, n) for clip in clips]) for n in (t, t // 2))
    return EventBank({10: 0, 20: 1, 30: 2}, whole, half)


def rows(*entries: tuple[int, int, int]) -> Composites:
    return Composites(*np.array(entries).T)


def test_windows_are_what_the_design_says() -> None:
    b = bank(1000)
    made = compose.render(b, rows((SINGLE, 20, 20), (JOIN, 10, 30), (JOIN, 30, 10), (OVERLAY, 10, 20)), 0, 4)

    def scaled(wave: np.ndarray) -> np.ndarray:
        return wave * (WINDOW_RMS / rms(wave))

    np.testing.assert_allclose(made[0], scaled(b.whole[1]), rtol=1e-5)
    np.testing.assert_allclose(made[1], scaled(np.concatenate([b.half[0], b.half[2]])), rtol=1e-5)
    np.testing.assert_allclose(made[2], scaled(np.concatenate([b.half[2], b.half[0]])), rtol=1e-5)
    np.testing.assert_allclose(made[3], scaled(b.whole[0] + b.whole[1]), rtol=1e-4, atol=1e-6)
    assert made.dtype == np.float32


def test_reversed_is_forward_with_its_halves_exchanged() -> None:
    made = compose.render(bank(1000), rows((JOIN, 10, 30), (JOIN, 30, 10)), 0, 2)
    np.testing.assert_array_equal(np.roll(made[0], 500), made[1])


def test_an_odd_window_has_nothing_but_its_two_events() -> None:
    b = bank(1001)
    (made,) = compose.render(b, rows((JOIN, 10, 30)), 0, 1)
    assert made[500] == 0
    gain = made[0] / b.half[0, 0]
    np.testing.assert_allclose(made[:500], gain * b.half[0], rtol=1e-4)
    np.testing.assert_allclose(made[501:], gain * b.half[2], rtol=1e-4)


def test_rendering_in_parts_is_rendering_at_once() -> None:
    b, everything = bank(1000), rows((SINGLE, 20, 20), (JOIN, 10, 30), (OVERLAY, 10, 20), (JOIN, 20, 10))
    whole_before = b.whole.copy()
    at_once = compose.render(b, everything, 0, 4)
    parts = [compose.render(b, everything, start, start + 1) for start in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts), at_once)
    np.testing.assert_array_equal(b.whole, whole_before)


def test_overlay_commutes() -> None:
    one, other = np.array([3, 1]), np.array([2, 5])
    np.testing.assert_array_equal(compose.overlay(one, other), compose.overlay(other, one))
    np.testing.assert_array_equal(compose.overlay(one, other), [[OVERLAY, 2, 3], [OVERLAY, 1, 5]])
    np.testing.assert_array_equal(compose.join(one, other), [[JOIN, 3, 2], [JOIN, 1, 5]])
    np.testing.assert_array_equal(compose.single(one), [[SINGLE, 3, 3], [SINGLE, 1, 1]])


def test_unique_composites_name_every_row() -> None:
    wanted = np.array([[[JOIN, 3, 2], [JOIN, 2, 3]], [[SINGLE, 3, 3], [JOIN, 3, 2]]])
    composites, index = compose.unique_composites(wanted)
    assert len(composites) == 3
    np.testing.assert_array_equal(composites.rows()[index], wanted)


def test_load_events_names_every_file_that_cannot_be_used(root: Path, tmp_path: Path) -> None:
    data = datasets.read_index(shutil.copytree(root, tmp_path / "bad"))
    data.path(3).write_bytes(b"no sound")
    data.path(7).unlink()
    with pytest.raises(InputError) as caught:
        compose.load_events(data, range(10), WINDOW_S, RATE)
    assert "2 unusable" in str(caught.value)
    assert f"{data.filenames[3]}: unreadable" in str(caught.value)
    assert f"{data.filenames[7]}: missing" in str(caught.value)


def test_load_events_resamples_to_the_model_s_rate(dataset: Dataset) -> None:
    events = compose.load_events(dataset, [4, 2], window_s=1.0, sample_rate_hz=8000)
    assert events.row_of == {4: 0, 2: 1}
    assert events.whole.shape == (2, 8000)
    assert events.half.shape == (2, 4000)
    wave = audio.decode(dataset.path(2), 8000)
    np.testing.assert_array_equal(events.whole[1], event(wave, 8000))
    np.testing.assert_array_equal(events.half[1], event(wave, 4000))


def windows_of(data: Dataset, folds: tuple[int, ...], takes: int) -> dict[str, tuple[np.ndarray, ...]]:
    """kind -> its windows' clips [n, 2], lengths, RMS and peaks."""
    draws = draw_pairs(data, folds, range(len(data.class_names)), takes, seed=0)
    samples = make_samples(draws, data.class_names)
    composites = samples.composites
    clips = np.union1d(composites.first, composites.second)
    events = compose.load_events(data, clips, WINDOW_S, RATE)
    lengths, levels, peaks = (np.empty(len(composites)) for _ in range(3))
    for start in range(0, len(composites), 128):
        stop = min(start + 128, len(composites))
        part = compose.render(events, composites, start, stop)
        lengths[start:stop] = part.shape[1]
        levels[start:stop] = rms(part)
        peaks[start:stop] = np.abs(part).max(axis=1)
    return {
        kind: (composites.rows()[rows.ravel(), 1:], *(x[rows.ravel()] for x in (lengths, levels, peaks)))
        for kind, rows in samples.audio_rows.items()
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[np.ndarray, ...]]:
    """All composites of 10 classes x 10 clips: 45 pairs x 8 takes."""
    root = synth.write_dataset(tmp_path_factory.mktemp("leak") / "data", classes=10, clips=10, seed=1)
    return windows_of(datasets.read_index(root), (1, 2, 3), takes=8)


def test_length_and_rms_are_equal_over_all_composites(many: dict) -> None:
    for kind, (_, lengths, levels, _) in many.items():
        assert set(lengths) == {T}, kind
        np.testing.assert_allclose(levels, WINDOW_RMS, rtol=1e-4, err_msg=kind)


def leak(windows: dict, one: str | tuple[str, ...], other: str) -> tuple[float, int]:
    """Cross-validated accuracy, balanced over the two kinds, of telling them by length, RMS and peak; and n.

    A fold holds both windows of any pair of clips, or neither, so that remembering a peak is of no use.
    """
    kinds = [one] if isinstance(one, str) else list(one)
    features, labels, groups = [], [], []
    for label, names in enumerate((kinds, [other])):
        for kind in names:
            clips, lengths, levels, peaks = windows[kind]
            features.append(np.stack([lengths, np.round(levels, 3), peaks], axis=1))
            labels += [label] * len(lengths)
            groups += [tuple(sorted(pair)) for pair in clips.tolist()]
    y = np.array(labels)
    _, group = np.unique(np.array(groups), axis=0, return_inverse=True)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    predicted = cross_val_predict(classifier, np.concatenate(features), y, groups=group.ravel(), cv=GroupKFold(5))
    accuracy = np.mean([(predicted[y == label] == label).mean() for label in (0, 1)])
    return float(accuracy), len(y)


def check_leaks(windows: dict, record: Callable[[str, object], None]) -> None:
    order, n = leak(windows, "forward", "reversed")
    error = 0.5 / np.sqrt(n)  # binomial, at chance
    record("leak_f_against_r", order)
    kinds = {f"leak_{kind}_against_overlay": leak(windows, kind, "overlay")[0] for kind in ("forward", "reversed")}
    kinds["leak_both_against_overlay"] = leak(windows, ("forward", "reversed"), "overlay")[0]
    kinds["leak_single_against_forward"] = leak(windows, "single", "forward")[0]
    for name, value in kinds.items():
        record(name, value)
    print(
        f"f against r {order:.3f} (n {n}, standard error {error:.3f});",
        {k: round(v, 3) for k, v in kinds.items()},
    )
    assert abs(order - 0.5) < 3 * error


def test_length_loudness_and_peak_do_not_tell_the_order(
    many: dict, record_property: Callable[[str, object], None]
) -> None:
    check_leaks(many, record_property)


def test_the_regression_would_see_a_leak(many: dict) -> None:
    clips, lengths, levels, peaks = many["reversed"]
    leaky = many | {"reversed": (clips, lengths, levels, 1.5 * peaks)}
    accuracy, n = leak(leaky, "forward", "reversed")
    assert accuracy > 0.5 + 5 * 0.5 / np.sqrt(n)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"real ESC-50 clips are not at {REAL}")
def test_real_sound_does_not_leak_either(record_property: Callable[[str, object], None]) -> None:
    data = datasets.read_index(REAL)
    few = data.class_ids < 12  # of 50: decoding is the cost
    part = Dataset(
        data.root,
        tuple(name for name, keep in zip(data.filenames, few, strict=True) if keep),
        data.folds[few],
        data.class_ids[few],
        data.class_names[:12],
        data.recordings[few],
    )
    windows = windows_of(part, (1,), takes=6)
    for kind, (_, lengths, levels, _) in windows.items():
        assert set(lengths) == {T}, kind
        np.testing.assert_allclose(levels, WINDOW_RMS, rtol=1e-4, err_msg=kind)
    check_leaks(windows, record_property)


@pytest.mark.parametrize("kind", [SINGLE, JOIN, OVERLAY])
@pytest.mark.parametrize("clip_s", [0.3, 1.0, 3.0])
def test_a_window_does_not_repeat_itself(kind: int, clip_s: float) -> None:
    """No shift brings a window of noise onto itself; a short clip is not looped to fill it."""
    clips = [noise(round(clip_s * RATE), seed) for seed in range(2)]
    events = EventBank(
        {0: 0, 1: 1},
        np.stack([event(clip, T) for clip in clips]),
        np.stack([event(clip, T // 2) for clip in clips]),
    )
    (window,) = compose.render(events, rows((kind, 0, 0 if kind == SINGLE else 1)), 0, 1)
    spectrum = np.fft.rfft(window.astype(np.float64), 2 * T)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:T]
    assert np.abs(correlation[1:]).max() < 0.1 * correlation[0]
