from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tclap.data.audio import decode
from tclap.data.compose import WINDOW_RMS
from tclap.data.dataset import Dataset
from tclap.errors import InputError
from tclap.evaluation.similarity import LONGER, cut_windows, similarities
from tclap.models.mini import Mini
from tclap.models.protocol import text_embeddings

RATE = 16_000


def heard(mini: Mini, windows: np.ndarray, texts: list[str]) -> np.ndarray:
    """Cosines [W, m] of windows that are brought to the common RMS here."""
    level = np.sqrt(np.mean(np.square(windows, dtype=np.float64), axis=1, keepdims=True))
    with torch.no_grad():
        audio = mini.audio_head(mini.audio_frozen(torch.from_numpy((windows * WINDOW_RMS / level).astype(np.float32))))
        return (audio @ text_embeddings(mini, texts).T).numpy()


def noise(seconds: float, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def write(path: Path, wave: np.ndarray) -> str:
    soundfile.write(path, wave, RATE, subtype="FLOAT")
    return str(path)


def test_a_file_of_a_window_is_heard_whole_and_a_shorter_one_padded(mini: Mini, tmp_path: Path) -> None:
    mini.eval()
    texts = ["tick before hum", "The sound of tick"]
    paths = [write(tmp_path / "a.wav", noise(2.0, 0)), write(tmp_path / "b.wav", noise(0.5, 1))]
    found = similarities(mini, paths, texts)
    whole, short = (decode(Path(path), RATE) for path in paths)
    padded = np.pad(short, (0, 2 * RATE - len(short)))  # and not repeated
    np.testing.assert_allclose(found.to_numpy(), heard(mini, np.stack([whole, padded]), texts), atol=1e-5)
    assert found.index.tolist() == [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    assert found.columns.tolist() == texts
    assert found.attrs[LONGER] == []


@pytest.mark.parametrize("seconds", [2.1, 3.0, 5.3])
def test_a_longer_file_is_heard_in_windows_that_overlap_by_half(mini: Mini, tmp_path: Path, seconds: float) -> None:
    mini.eval()
    texts = ["tick before hum", "hum before tick"]
    wave = noise(seconds, 2) * np.linspace(0.1, 1, round(seconds * RATE), dtype=np.float32)
    path = write(tmp_path / "long.wav", wave)
    wave = decode(Path(path), RATE)
    found = similarities(mini, [path], texts)
    starts = sorted({*range(0, len(wave) - 2 * RATE, RATE), len(wave) - 2 * RATE})
    windows = np.stack([wave[start : start + 2 * RATE] for start in starts])
    assert len(windows) > 1
    np.testing.assert_allclose(found.to_numpy()[0], heard(mini, windows, texts).max(axis=0), atol=1e-5)
    assert found.attrs[LONGER] == [path]


def test_every_sequence_of_half_a_window_lies_whole_in_one_window() -> None:
    length = 10
    for total in range(11, 40):
        windows = cut_windows(np.arange(1, total + 1, dtype=np.float32), length)
        ratio = windows[:, 1:2] - windows[:, :1]  # windows are scaled: their steps are the scale
        inside = [
            set(np.round(window / step).astype(int).tolist()) for window, step in zip(windows, ratio, strict=True)
        ]
        for start in range(1, total - 5 + 2):
            assert any({*range(start, start + 5)} <= window for window in inside)


def test_silent_windows_are_left_out() -> None:
    wave = np.concatenate([noise(2.0, 0), np.zeros(8 * RATE, np.float32)])
    assert len(cut_windows(wave, 2 * RATE)) == 2
    assert np.isfinite(cut_windows(wave, 2 * RATE)).all()


def test_wrong_files_and_nothing_are_refused(mini: Mini, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    broken, gone = str(tmp_path / "broken.wav"), str(tmp_path / "elsewhere" / "gone.wav")
    with pytest.raises(InputError, match=rf"^2 unusable file\(s\): {broken}: unreadable.*{gone}: missing"):
        similarities(mini, [str(dataset.path(0)), broken, gone], ["a"])
    with pytest.raises(InputError, match="at least one audio file and one text"):
        similarities(mini, [], ["a"])
    with pytest.raises(InputError, match="at least one audio file and one text"):
        similarities(mini, [str(dataset.path(0))], [])
