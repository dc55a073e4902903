"""What tells the kinds of composite windows apart without hearing what sounds: not silence, length or loudness."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict

from tclap.config import DataSettings, Timing
from tclap.data import compose, synth
from tclap.data import dataset as datasets
from tclap.data.compose import WINDOW_RMS
from tclap.data.dataset import Dataset
from tclap.data.draws import draw_pairs
from tclap.evaluation.order import order_scores
from tclap.evaluation.zste import build_suite
from tclap.training.samples import make_samples

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "esc50"
RATE = 16_000
WINDOW_S = 2.0
T = 32_000


def rms(wave: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(wave, dtype=np.float64), axis=-1))


CLUES = ("length", "RMS", "peak", "silence", "loudest 10 ms", "level changes")
FRAME = RATE // 100


def clues(windows: np.ndarray) -> np.ndarray:
    """[B, 6] what a model could tell windows by without hearing what sounds: CLUES."""
    frames = windows[:, : windows.shape[1] // FRAME * FRAME].reshape(len(windows), -1, FRAME)
    energy = np.square(frames, dtype=np.float64).mean(axis=2)  # [B, frames]
    # Frames of silence between sounds are exactly 0; -60 dB counts as silence as well.
    level_db = 10 * np.log10(energy + 1e-12)
    silence = (level_db < 20 * np.log10(WINDOW_RMS) - 60).mean(axis=1)
    smooth = np.apply_along_axis(lambda row: np.convolve(row, np.ones(5) / 5, "valid"), 1, level_db)
    changes = (np.abs(smooth[:, 5:] - smooth[:, :-5]) > 10).mean(axis=1)
    return np.stack(
        [
            np.full(len(windows), windows.shape[1]),
            np.round(rms(windows), 4),
            np.abs(windows).max(axis=1),
            silence,
            energy.argmax(axis=1) / energy.shape[1],
            changes,
        ],
        axis=1,
    )


Windows = dict[str, np.ndarray]


def windows_of(data: Dataset, folds: tuple[int, ...], takes: int, timing: Timing) -> Windows:
    """kind -> the clues [P, takes, 6] of its windows."""
    draws = draw_pairs(data, folds, range(len(data.class_names)), takes, seed=0, timing=timing)
    samples = make_samples(draws, data.class_names)
    composites = samples.composites
    events = compose.load_events(data, composites, WINDOW_S, RATE)
    starts = range(0, len(composites), 128)
    heard = np.concatenate(
        [clues(compose.render(events, composites, start, min(start + 128, len(composites)))) for start in starts]
    )
    return {kind: heard[index] for kind, index in samples.audio_rows.items()}


@pytest.fixture(scope="module", params=["drawn", "midpoint"])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Windows:
    """All composites of 10 classes x 10 clips: 45 pairs x 8 takes."""
    root = synth.write_dataset(tmp_path_factory.mktemp("leak") / "data", classes=10, clips=10, seed=1)
    return windows_of(datasets.read_index(root), (1, 2, 3), takes=8, timing=request.param)


def test_length_and_rms_are_equal_over_all_composites(many: Windows) -> None:
    for kind, heard in many.items():
        assert set(heard[..., 0].ravel()) == {T}, kind
        np.testing.assert_allclose(heard[..., 1], WINDOW_RMS, rtol=1e-3, err_msg=kind)


def leak(windows: Windows, one: str, other: str, columns: list[int] | None = None) -> tuple[float, int]:
    """Cross-validated accuracy, balanced over the two kinds, of telling them by their clues; and n.

    A fold holds all windows of a pair of classes, or none, so that remembering a peak is of no use.
    """
    pairs, takes, _ = windows[one].shape
    heard = np.concatenate([windows[kind].reshape(pairs * takes, -1) for kind in (one, other)])
    heard = heard if columns is None else heard[:, columns]
    y = np.repeat([0, 1], pairs * takes)
    group = np.tile(np.repeat(np.arange(pairs), takes), 2)
    forest = RandomForestClassifier(60, min_samples_leaf=10, class_weight="balanced", random_state=0)
    predicted = cross_val_predict(forest, heard, y, groups=group, cv=GroupKFold(5))
    accuracy = np.mean([(predicted[y == label] == label).mean() for label in (0, 1)])
    return float(accuracy), len(y)


PAIRS = tuple(itertools.combinations(("single", "forward", "reversed", "overlay"), 2))


def check_leaks(windows: Windows, timing: str, record: Callable[[str, object], None]) -> None:
    """Every kind against every other, by all clues together and by each clue that is not the same in all of them.

    f against r is at chance by every clue, and by all. Silence tells nothing about any kind: those of a draw have the
    same. With drawn timing the position of the loudest 10 ms tells nothing either. What is left are the peak (two
    sounds at once have a lower one for the same RMS, a single sound has the crest of one) and the changes of level (one
    after the other has an edge where the second begins, at once has the level of a sum). Both are of nature: they say
    how many sounds there are and whether one follows the other, never which is first. Where the change is always in the
    middle, each sound is cut at half a window, and all three tell more.
    """
    error = 0.5 / np.sqrt(2 * windows["forward"][..., 0].size)  # binomial, at chance
    for one, other in PAIRS:
        for name, columns in {"all": None, **{clue: [CLUES.index(clue)] for clue in CLUES[2:]}}.items():
            accuracy, n = leak(windows, one, other, columns)
            record(f"leak_{timing}_{one}_{other}_{name}", accuracy)
            print(f"{timing}: {one} against {other} by {name}: {accuracy:.3f} (n {n})")
            nothing = (one, other) == ("forward", "reversed") or name == "silence"
            nothing |= name == "loudest 10 ms" and timing == "drawn"
            bound = 0.5 + 4 * error if nothing else BOUNDS[timing][name]
            assert accuracy < bound, (one, other, name)


# Measured on synthetic clips: all 0.75, peak 0.63, level changes 0.69; with midpoint 0.86, 0.82, 0.80, loudest 0.70.
BOUNDS = {
    "drawn": {"all": 0.8, "peak": 0.7, "level changes": 0.75},
    "midpoint": {"all": 0.92, "peak": 0.88, "level changes": 0.85, "loudest 10 ms": 0.75},
}


def test_length_loudness_and_silence_do_not_tell_the_kinds(
    many: Windows, record_property: Callable[[str, object], None], request: pytest.FixtureRequest
) -> None:
    check_leaks(many, request.node.callspec.params["many"], record_property)


def test_what_each_sound_is_like_does_not_tell_which_is_first(tmp_path: Path) -> None:
    """Cheats on the rendered windows of order/moved: the sound with more energy, a higher peak, a louder 10 ms, less
    silence or more changes of level is said to come first, by somebody who knows where each sound lies.

    The two windows of a pair hold the same two sounds, so that what is said is right for one and wrong for the other,
    but for the case with noise, of which each sound gets another part.
    """
    data = datasets.read_index(synth.write_dataset(tmp_path / "data", classes=10, clips=10, seed=1))
    suite = build_suite(data, (4, 5), DataSettings(eval_takes=8))
    events = compose.load_events(data, suite.composites, WINDOW_S, RATE)
    windows = suite.order.windows
    ends = [(start, min(start + 128, len(suite.composites))) for start in range(0, len(suite.composites), 128)]
    heard = np.concatenate([compose.render(events, suite.composites, *span) for span in ends])[windows]
    of_each = np.stack([sounds_alone(heard, suite.composites.timing[windows][:, part]) for part in ([0, 1], [2, 3])])
    for number, clue in enumerate(("energy", *CLUES[2:])):
        first, second = np.round(of_each[:, :, number], 4)
        credit = np.where(first == second, 0.5, first > second)
        scores = order_scores(suite, credit)
        assert scores["order/moved"].value == pytest.approx(50, abs=1), clue
        assert scores["order/paired"].value < 25 + 1, clue
        assert scores["order/bias"].value >= 50, clue


def sounds_alone(windows: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """[n, 5] clues of one sound of each window, whose onset and length are `spans` [n, 2] in thousandths."""
    found = []
    for window, (onset, length) in zip(windows, spans * T // compose.GRID, strict=True):
        sound = window[onset : onset + length]
        found.append([np.square(sound, dtype=np.float64).sum(), *clues(sound[None])[0, 2:]])
    return np.array(found)


@pytest.mark.parametrize("clue", CLUES)
def test_the_forest_would_see_a_leak(many: Windows, clue: str) -> None:
    """If the windows of r differed by a third of the range of a clue, or a thousandth of what is always the same."""
    own = many["reversed"][..., CLUES.index(clue)]
    shift = max(0.3 * float(np.ptp(own)), 1e-3 * float(own.max())) or 0.01  # midpoint timing has no silence at all
    shifted = many["reversed"] + np.where(np.arange(6) == CLUES.index(clue), shift, 0)
    accuracy, n = leak(many | {"reversed": shifted}, "forward", "reversed")
    assert accuracy > 0.5 + 5 * 0.5 / np.sqrt(n)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"real ESC-50 clips are not at {REAL}")
@pytest.mark.parametrize("timing", ["drawn", "midpoint"])
def test_real_sound_does_not_leak_either(timing: Timing, record_property: Callable[[str, object], None]) -> None:
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
    windows = windows_of(part, (1,), takes=6, timing=timing)
    for kind, heard in windows.items():
        assert set(heard[..., 0].ravel()) == {T}, kind
        np.testing.assert_allclose(heard[..., 1], WINDOW_RMS, rtol=1e-3, err_msg=kind)
    check_leaks(windows, timing, record_property)
