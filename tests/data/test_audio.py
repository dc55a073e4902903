"""Sound files as people have them: what is decoded, how, and what is refused in one line."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tclap.data import audio
from tclap.data import dataset as datasets
from tclap.errors import InputError
from tests.data.test_dataset import RATE, REAL, one_line, real_data, rows, tone, write


def test_decode_keeps_mono_as_it_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype="FLOAT")
    wave = audio.decode(tmp_path / "a.wav", RATE)
    assert wave.dtype == np.float32
    np.testing.assert_array_equal(wave, tone().astype(np.float32))


def test_decode_mixes_stereo(tmp_path: Path) -> None:
    """Stereo is mixed, not read as a mono clip of double length."""
    left, right = tone(), 0.5 * tone(hz=880)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(audio.decode(tmp_path / "a.wav", RATE), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_decode_resamples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(1.0, 48_000), 48_000)
    wave = audio.decode(path, RATE)
    assert len(wave) == RATE
    middle = slice(1000, -1000)  # the resampling filter has edges
    np.testing.assert_allclose(wave[middle], tone(1.0)[middle], atol=0.02 if suffix == "ogg" else 1e-3)


@pytest.mark.parametrize("samples", [1, 7, 800])
def test_decode_takes_short_clips(tmp_path: Path, samples: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(samples, 0.5), 48_000)
    wave = audio.decode(tmp_path / "a.wav", RATE)
    assert len(wave) == -(-samples // 3)
    assert np.isfinite(wave).all()


def spoil_missing(path: Path) -> None:
    path.unlink()


def spoil_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def spoil_zero_bytes(path: Path) -> None:
    path.write_bytes(b"")


def spoil_text(path: Path) -> None:
    path.write_text("this is no sound at all " * 40)


def spoil_empty(path: Path) -> None:
    soundfile.write(path, np.zeros(0), RATE)


def spoil_silent(path: Path) -> None:
    soundfile.write(path, np.full(RATE, 5e-5), RATE, subtype="FLOAT")


def spoil_nan(path: Path) -> None:
    wave = tone()
    wave[100] = np.nan
    soundfile.write(path, wave, RATE, subtype="FLOAT")


def spoil_opposite_channels(path: Path) -> None:
    soundfile.write(path, np.stack([tone(), -tone()], axis=1), RATE)


def spoil_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILE_FAULTS = {
    spoil_missing: "missing",
    spoil_truncated: "unreadable",
    spoil_zero_bytes: "unreadable",
    spoil_text: "unreadable",
    spoil_empty: "empty",
    spoil_silent: "silent",
    spoil_nan: "NaN",
    spoil_opposite_channels: "silent",
    spoil_folder: "missing",
}


@pytest.mark.parametrize(("spoil", "word"), FILE_FAULTS.items())
def test_decode_faults_name_the_file(tmp_path: Path, spoil: Callable[[Path], None], word: str) -> None:
    path = tmp_path / "clip 1.wav"
    soundfile.write(path, tone(), RATE)
    spoil(path)
    for rate in (RATE, 44_100):
        with pytest.raises(InputError) as caught:
            audio.decode(path, rate)
        one_line(caught, "clip 1.wav", word)


def test_problems_are_all_listed_in_order(tmp_path: Path) -> None:
    table = pd.concat([rows()] * 4, ignore_index=True)
    table["filename"] = [f"{n}.wav" for n in range(len(table))]
    data = datasets.read_index(write(tmp_path / "bad", table))
    paths = [data.path(clip) for clip in range(16)]
    assert audio.decode_problems(paths) == {}
    at = dict(zip(range(1, 16, 2), FILE_FAULTS.items(), strict=False))
    for clip, (spoil, _) in at.items():
        spoil(data.path(clip))
    lines = list(audio.decode_problems(paths).values())
    assert [line.split(":")[0] for line in lines] == [f"{clip}.wav" for clip in at]
    assert all(word in line for line, (_, word) in zip(lines, at.values(), strict=True))
    assert list(audio.decode_problems(paths[1:4])) == [paths[1], paths[3]]
    with pytest.raises(InputError) as caught:
        audio.raise_problems(data.audio, lines)
    one_line(caught, data.root / "audio", f"{len(at)} unusable", *lines)
    audio.raise_problems(data.audio, [])


@real_data
def test_real_clips_decode() -> None:
    data = datasets.read_index(REAL)
    clips = range(0, len(data.filenames), 160)
    assert audio.decode_problems(map(data.path, clips)) == {}
    for clip in clips:
        wave = audio.decode(data.path(clip), 44_100)
        assert len(wave) / 44_100 == pytest.approx(5.0, abs=0.1)
