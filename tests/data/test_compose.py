import shutil
from pathlib import Path

import numpy as np
import pytest

from tclap.data import compose
from tclap.data import dataset as datasets
from tclap.data.compose import (
    EVENT_RMS,
    JOIN,
    OVERLAY,
    SINGLE,
    WINDOW_RMS,
    Composites,
    EventBank,
    cut_events,
    event,
    pack_events,
)
from tclap.data.dataset import Dataset
from tclap.data.draws import draw_timings
from tclap.errors import InputError

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


CLIPS = (10, 20, 30)


def clip_of(number: int, t: int) -> np.ndarray:
    return noise(3 * t, CLIPS.index(number))


def bank(t: int, composites: Composites) -> EventBank:
    """The events of `composites`, whose clips are three of noise, each three windows long."""
    keys = composites.events()
    cuts = [
        cut_events(clip_of(clip, t), [compose.samples_of(length, t) for c, length in keys.tolist() if c == clip])
        for clip in np.unique(keys[:, 0]).tolist()
    ]
    return pack_events(keys, cuts, t)


def rows(*entries: tuple[int, int, int]) -> Composites:
    """Windows with the paper's timing."""
    kinds = {SINGLE: compose.single, OVERLAY: compose.overlay, JOIN: compose.join}
    made = [
        kinds[kind](np.array([first]), *([] if kind == SINGLE else [np.array([second])]))
        for kind, first, second in entries
    ]
    return Composites(np.concatenate(made))


def rendered(t: int, composites: Composites) -> np.ndarray:
    return compose.render(bank(t, composites), composites, 0, len(composites))


def scaled(wave: np.ndarray) -> np.ndarray:
    return wave * (WINDOW_RMS / rms(wave))


def render_as_before(whole: np.ndarray, half: np.ndarray, kind: np.ndarray, first: list, second: list) -> np.ndarray:
    """What version 1 of the composition rendered, in its own lines."""
    windows = np.array(whole[first])
    joined, overlaid = kind == JOIN, kind == OVERLAY
    h = half.shape[1]
    windows[joined] = 0
    windows[joined, :h] = half[first][joined]
    windows[joined, windows.shape[1] - h :] = half[second][joined]
    windows[overlaid] += whole[second][overlaid]
    level = np.sqrt(np.mean(np.square(windows, dtype=np.float64), axis=1, keepdims=True))
    return (windows * (WINDOW_RMS / level)).astype(np.float32)


def event_as_before(clip: np.ndarray, length: int) -> np.ndarray:
    if len(clip) < length:
        part = np.pad(clip, (0, length - len(clip)))
    else:
        energy = np.concatenate([[0.0], np.cumsum(np.square(clip, dtype=np.float64))])
        start = int(np.argmax(energy[length:] - energy[:-length]))
        part = clip[start : start + length]
    level = np.sqrt(np.mean(np.square(part, dtype=np.float64)))
    gain = min(EVENT_RMS / level, 1.0 / np.abs(part).max())
    return part * np.float32(gain)


@pytest.mark.parametrize("t", [1000, 1001, 32_000, 7])
@pytest.mark.parametrize("long", [0.3, 0.7, 1.0, 2.5])
def test_midpoint_windows_are_bit_identical_to_those_of_version_1(t: int, long: float) -> None:
    rng = np.random.default_rng([t, int(10 * long)])
    clips = [rng.standard_normal(max(round(long * t), 1)).astype(np.float32) for _ in range(3)]
    clips[1][: len(clips[1]) // 3] *= 100  # a peak that limits its gain
    clips[2][rng.integers(len(clips[2]))] = 30
    entries = [(SINGLE, 10, 10), (SINGLE, 20, 20), (JOIN, 10, 20), (JOIN, 20, 10), (JOIN, 30, 10), (OVERLAY, 20, 30)]
    composites = rows(*entries)
    keys = composites.events()
    cuts = [
        cut_events(clips[n], [compose.samples_of(length, t) for c, length in keys.tolist() if c == clip])
        for n, clip in enumerate(CLIPS)
    ]
    got = compose.render(pack_events(keys, cuts, t), composites, 0, len(composites))
    whole, half = (np.stack([event_as_before(clip, n) for clip in clips]) for n in (t, t // 2))
    kind = composites.kind
    first, second = ([CLIPS.index(c) for c in column] for column in (composites.first, composites.second))
    np.testing.assert_array_equal(got, render_as_before(whole, half, kind, first, second))


def test_windows_are_what_the_design_says() -> None:
    made = rendered(1000, rows((SINGLE, 20, 20), (JOIN, 10, 30), (JOIN, 30, 10), (OVERLAY, 10, 20)))
    whole = {clip: event(clip_of(clip, 1000), 1000) for clip in CLIPS}
    half = {clip: event(clip_of(clip, 1000), 500) for clip in CLIPS}
    np.testing.assert_allclose(made[0], scaled(whole[20]), rtol=1e-5)
    np.testing.assert_allclose(made[1], scaled(np.concatenate([half[10], half[30]])), rtol=1e-5)
    np.testing.assert_allclose(made[2], scaled(np.concatenate([half[30], half[10]])), rtol=1e-5)
    np.testing.assert_allclose(made[3], scaled(whole[10] + whole[20]), rtol=1e-4, atol=1e-6)
    assert made.dtype == np.float32


def test_timed_windows_are_what_the_design_says() -> None:
    """Each kind in two spans, 0.1 to 0.3 and 0.45 to 0.95 of the window, and nothing elsewhere."""
    timing = np.array([100, 200, 450, 500])
    one, other = np.array([10]), np.array([30])
    windows = Composites(
        np.concatenate(
            [
                compose.join(one, other, timing),
                compose.single(one, timing),
                compose.overlay(one, other, timing),
                compose.with_noise(compose.join(one, other, timing), np.array([20])),
            ]
        )
    )
    join, single, overlay, noisy = rendered(1000, windows)
    first, second = event(clip_of(10, 1000), 200), event(clip_of(30, 1000), 500)
    expected = np.zeros(1000)
    expected[100:300], expected[450:950] = first, second
    np.testing.assert_allclose(join, scaled(expected), rtol=1e-5)
    under = expected + 0.1 * event(clip_of(20, 1000), 1000)  # 20 dB below
    np.testing.assert_allclose(noisy, scaled(under), rtol=1e-4, atol=1e-6)
    for window, sound in (
        (single, event(clip_of(10, 1000), 700)),
        (overlay, event(clip_of(10, 1000), 700) + event(clip_of(30, 1000), 700)),
    ):
        expected = np.zeros(1000)
        expected[100:300], expected[450:950] = sound[:200], sound[200:]
        np.testing.assert_allclose(window, scaled(expected), rtol=1e-4, atol=1e-6)


def test_spans_never_overlap_nor_leave_the_window() -> None:
    """In samples as in thousandths, for windows whose length is no multiple of 1000."""
    spans, _ = draw_timings((500,), seed=0, timing="drawn", purpose="training")
    for t in (999, 1234, 32_000):
        one = np.full(len(spans), 10)
        composites = Composites(compose.join(one, one + 20, spans))
        silent = np.sign(rendered(t, composites)) == 0
        onsets = -(-spans[:, [0, 2]] * t // 1000)
        lengths = spans[:, [1, 3]] * t // 1000
        assert (onsets[:, 0] + lengths[:, 0] <= onsets[:, 1]).all()
        assert (onsets[:, 1] + lengths[:, 1] <= t).all()
        np.testing.assert_array_equal(silent.sum(axis=1), t - lengths.sum(axis=1))


def test_reversed_is_forward_with_its_halves_exchanged() -> None:
    made = rendered(1000, rows((JOIN, 10, 30), (JOIN, 30, 10)))
    np.testing.assert_array_equal(np.roll(made[0], 500), made[1])


def test_an_odd_window_has_nothing_but_its_two_events() -> None:
    (made,) = rendered(1001, rows((JOIN, 10, 30)))
    first, second = event(clip_of(10, 1001), 500), event(clip_of(30, 1001), 500)
    assert made[500] == 0
    gain = made[0] / first[0]
    np.testing.assert_allclose(made[:500], gain * first, rtol=1e-4)
    np.testing.assert_allclose(made[501:], gain * second, rtol=1e-4)


def test_rendering_in_parts_is_rendering_at_once() -> None:
    everything = rows((SINGLE, 20, 20), (JOIN, 10, 30), (OVERLAY, 10, 20), (JOIN, 20, 10))
    b = bank(1000, everything)
    samples_before = b.samples.copy()
    at_once = compose.render(b, everything, 0, 4)
    parts = [compose.render(b, everything, start, start + 1) for start in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts), at_once)
    np.testing.assert_array_equal(b.samples, samples_before)


def test_an_event_that_was_not_cut_is_an_error() -> None:
    b = bank(1000, rows((JOIN, 10, 30)))
    for wanted in (rows((JOIN, 10, 20)), rows((SINGLE, 10, 10))):
        with pytest.raises(KeyError, match="has no event"):
            compose.render(b, wanted, 0, 1)


def test_overlay_commutes() -> None:
    one, other = np.array([3, 1]), np.array([2, 5])
    np.testing.assert_array_equal(compose.overlay(one, other), compose.overlay(other, one))
    np.testing.assert_array_equal(compose.overlay(one, other)[:, :3], [[OVERLAY, 2, 3], [OVERLAY, 1, 5]])
    np.testing.assert_array_equal(compose.join(one, other)[:, :3], [[JOIN, 3, 2], [JOIN, 1, 5]])
    np.testing.assert_array_equal(compose.single(one)[:, :3], [[SINGLE, 3, 3], [SINGLE, 1, 1]])


def test_unique_composites_name_every_row() -> None:
    clips = np.array([[3, 2], [3, 2]])
    wanted = np.stack([compose.join(clips, clips[:, ::-1]), compose.single(clips)])
    wanted[0, 0, 0, 4] = 400  # the same clips with another timing
    composites, index = compose.unique_composites(wanted)
    assert len(composites) == 5
    np.testing.assert_array_equal(composites.rows()[index], wanted)


def test_load_events_names_every_file_that_cannot_be_used(root: Path, tmp_path: Path) -> None:
    data = datasets.read_index(shutil.copytree(root, tmp_path / "bad"))
    data.path(3).write_bytes(b"no sound")
    data.path(7).unlink()
    with pytest.raises(InputError) as caught:
        compose.load_events(data, Composites(compose.single(np.arange(10))), WINDOW_S, RATE)
    assert "2 unusable" in str(caught.value)
    assert f"{data.filenames[3]}: unreadable" in str(caught.value)
    assert f"{data.filenames[7]}: missing" in str(caught.value)


def test_load_events_resamples_and_takes_the_loudest_part_of_the_whole_clip(dataset: Dataset) -> None:
    composites = Composites(compose.join(np.array([4]), np.array([2]), np.array([0, 300, 500, 250])))
    events = compose.load_events(dataset, composites, window_s=1.0, sample_rate_hz=8000)
    assert events.keys.tolist() == [[2, 250], [4, 300]]
    for row, (clip, length) in enumerate(((2, 2000), (4, 2400))):
        np.testing.assert_array_equal(events.cut(row), event(datasets.decode(dataset.path(clip), 8000), length))


@pytest.mark.parametrize("kind", [SINGLE, JOIN, OVERLAY])
@pytest.mark.parametrize("clip_s", [0.3, 1.0, 3.0])
def test_a_window_does_not_repeat_itself(kind: int, clip_s: float) -> None:
    """No shift brings a window of noise onto itself; a short clip is not looped to fill it."""
    composites = rows((kind, 0, 0 if kind == SINGLE else 1))
    keys = composites.events()
    cuts = [
        cut_events(noise(round(clip_s * RATE), seed), [compose.samples_of(n, T) for c, n in keys.tolist() if c == seed])
        for seed in np.unique(keys[:, 0]).tolist()
    ]
    (window,) = compose.render(pack_events(keys, cuts, T), composites, 0, 1)
    spectrum = np.fft.rfft(window.astype(np.float64), 2 * T)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:T]
    assert np.abs(correlation[1:]).max() < 0.1 * correlation[0]
