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
from tclap.data.compose import event
from tclap.errors import InputError
from tests.data.test_dataset import RATE, REAL, one_line, real_data, rows, tone, write


def test_decode_keeps_what_is_heard(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype="FLOAT")
    wave = audio.decode(tmp_path / "a.wav", RATE)
    assert wave.dtype == np.float32
    inside = slice(800, -800)  # the high-pass has edges of 50 ms
    np.testing.assert_allclose(wave[inside], tone()[inside], atol=1e-4)
    np.testing.assert_allclose(wave, tone(), atol=0.05)


def test_decode_mixes_stereo(tmp_path: Path) -> None:
    """Stereo is mixed, not read as a mono clip of double length."""
    left, right = tone(), 0.5 * tone(hz=880)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    inside = slice(800, -800)
    mixed = audio.decode(tmp_path / "a.wav", RATE)
    np.testing.assert_allclose(mixed[inside], ((left + right) / 2)[inside], atol=1e-4)
    assert len(mixed) == len(left)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_decode_resamples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(1.0, 48_000), 48_000)
    wave = audio.decode(path, RATE)
    assert len(wave) == RATE
    middle = slice(1000, -1000)  # the resampling filter has edges
    np.testing.assert_allclose(wave[middle], tone(1.0)[middle], atol=0.02 if suffix == "ogg" else 1e-3)


@pytest.mark.parametrize("samples", [7, 31, 800])
def test_decode_takes_short_clips(tmp_path: Path, samples: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, samples), 48_000)
    wave = audio.decode(tmp_path / "a.wav", RATE)
    assert len(wave) == pytest.approx(samples / 3, abs=1)
    assert np.isfinite(wave).all()


@pytest.mark.parametrize("rate", [RATE, 44_100, 48_000])
def test_below_the_corner_nothing_is_left_and_above_it_everything(rate: int) -> None:
    """Level of a tone afterwards, in dB of what it was: the documented response, whatever the rate."""
    for hz, db, within in ((5, -145, 60), (10, -96, 3), (20, -48, 1), (40, -6, 0.3), (80, 0, 0.1), (1000, 0, 0.01)):
        wave = audio.high_pass(tone(4.0, rate, hz).astype(np.float32), rate)
        middle = wave[rate : 3 * rate].astype(np.float64)
        assert 20 * np.log10(np.sqrt(np.mean(middle**2)) / (0.5 / np.sqrt(2))) == pytest.approx(db, abs=within), hz


@pytest.mark.parametrize("level", [0.3, -0.1, 1e-3])
@pytest.mark.parametrize("what", ["constant", "slow wave", "slow swell"])
def test_what_no_model_hears_is_silence(tmp_path: Path, what: str, level: float) -> None:
    t = np.arange(2 * RATE) / RATE
    wave = {"constant": np.ones_like(t), "slow wave": np.cos(2 * np.pi * 4 * t), "slow swell": np.hanning(len(t))}[what]
    soundfile.write(tmp_path / "a.wav", level * wave, RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=r"silent at 16000 Hz"):
        audio.decode(tmp_path / "a.wav", RATE)


def test_a_thump_of_dc_is_not_taken_for_the_event(tmp_path: Path) -> None:
    """Before the high-pass its energy chose the window: a second that held nothing to hear."""
    t = np.arange(4 * RATE) / RATE
    thump, sound = 0.9 * np.exp(-t / 0.4), 0.1 * np.sin(2 * np.pi * 440 * t) * (t >= 3)
    soundfile.write(tmp_path / "a.wav", thump + sound, RATE, subtype="FLOAT")
    chosen = event(audio.decode(tmp_path / "a.wav", RATE), RATE)
    spectrum = np.abs(np.fft.rfft(chosen)) ** 2
    assert spectrum[430:450].sum() > 0.95 * spectrum.sum()  # bins of 1 Hz


def test_the_high_pass_moves_nothing_in_time() -> None:
    click = np.zeros(RATE, np.float32)
    click[RATE // 2] = 1
    assert int(np.argmax(audio.high_pass(click, RATE))) == RATE // 2


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


FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "wav of floats": ("WAV", "FLOAT"),
    "wav of a-law": ("WAV", "ALAW"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def noisy(seconds: float, rate: int = 48_000) -> np.ndarray:
    return tone(seconds, rate) + 0.05 * np.random.default_rng(0).standard_normal(round(seconds * rate))


@pytest.mark.parametrize("kind", FORMATS)
def test_half_a_file_is_not_taken_for_a_whole_one(tmp_path: Path, kind: str) -> None:
    form, subtype = FORMATS[kind]
    path = tmp_path / "clip.sound"
    soundfile.write(path, noisy(3), 48_000, format=form, subtype=subtype)
    whole = path.read_bytes()
    assert len(audio.decode(path, RATE)) == pytest.approx(3 * RATE, abs=0.1 * RATE)
    assert audio.without_length([path]) == []
    for part in (0.9, 0.5, 0.2):
        path.write_bytes(whole[: round(part * len(whole))])
        with pytest.raises(InputError, match=r"clip.sound: (cut short|unreadable)"):
            audio.decode(path, RATE)


def test_what_follows_the_sound_is_no_part_of_it(tmp_path: Path) -> None:
    """Tags after the data, and a chunk before it, as editors write them."""
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE)
    raw = path.read_bytes()
    path.write_bytes(raw[:36] + b"bext\x03\0\0\0abc\0" + raw[36:] + b"LIST\x04\0\0\0tags")
    assert len(audio.decode(path, RATE)) == len(tone())


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0])
def test_a_wav_from_a_pipe_has_no_length_and_says_so(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE)
    raw = bytearray(path.read_bytes())
    raw[40:44] = size.to_bytes(4, "little")
    path.write_bytes(raw)
    assert audio.without_length([path]) == [path]
    if size:
        assert len(audio.decode(path, RATE)) == len(tone())


@pytest.fixture(params=[44_100, 22_050, 11_025])
def streamed_mp3(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three seconds without the first block, which says how long the rest is."""
    path = tmp_path / "a.mp3"
    wave = noisy(3, request.param)
    soundfile.write(path, wave, request.param, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    raw = path.read_bytes()
    path.write_bytes(raw[raw.index(raw[:2], 2) :])
    return path


def test_an_mp3_without_a_header_has_no_length(streamed_mp3: Path) -> None:
    assert audio.without_length([streamed_mp3]) == [streamed_mp3]
    assert len(audio.decode(streamed_mp3, RATE)) == pytest.approx(3 * RATE, abs=0.15 * RATE)
    raw = streamed_mp3.read_bytes()
    streamed_mp3.write_bytes(raw[: len(raw) // 2 + 7])
    with pytest.raises(InputError, match=r"a.mp3: cut short: its last block is not whole"):
        audio.decode(streamed_mp3, RATE)


def test_an_mp3_of_which_the_decoder_would_leave_a_part_is_refused(tmp_path: Path) -> None:
    """Of a variable bit rate without a header it guesses the length from the first block."""
    path = tmp_path / "a.mp3"
    soundfile.write(path, noisy(3, 44_100), 44_100, format="MP3")
    raw = path.read_bytes()
    path.write_bytes(raw[417:])
    with pytest.raises(InputError, match=r"a.mp3: cut short: it should have 1\d+ frames, \d+ can be decoded"):
        audio.decode(path, RATE)


@pytest.mark.parametrize("frames", [0, (1 << 36) - 1, 1 << 33])
def test_flac_from_a_pipe_is_read_to_its_end(tmp_path: Path, frames: int) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(2.0), RATE)
    raw = bytearray(path.read_bytes())
    packed = int.from_bytes(raw[18:26], "big")  # rate, channels and width, and the number of frames in the last 36 bits
    raw[18:26] = (packed >> 36 << 36 | frames).to_bytes(8, "big")
    path.write_bytes(raw)
    wave = audio.decode(path, RATE)
    assert len(wave) == 2 * RATE
    np.testing.assert_allclose(wave[800:-800], tone(2.0)[800:-800], atol=2e-4)


@pytest.mark.parametrize("suffix", ["raw", "RAW", "Raw"])
def test_raw_samples_are_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"\1\2" * 1000)
    with pytest.raises(InputError, match=rf"a.{suffix}: unreadable \(raw samples say neither rate nor format"):
        audio.decode(path, RATE)
    assert list(audio.decode_problems([path])) == [path]


@pytest.mark.parametrize(("rate", "wanted"), [(16_001, 16_000), (44_101, 48_000), (15_999, 44_100), (47_999, 48_000)])
def test_odd_rates_cost_no_more_than_others(tmp_path: Path, rate: int, wanted: int) -> None:
    """A resampler with a table of rate x rate numbers took 46 s and 4.9 GB for the first of these."""
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(3.0, rate), rate)
    wave = audio.decode(path, wanted)
    assert len(wave) == pytest.approx(3 * wanted, abs=2)
    middle = slice(wanted // 10, -wanted // 10)
    np.testing.assert_allclose(wave[middle], tone(3.0, wanted)[: len(wave)][middle], atol=5e-3)


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 2**31 - 1])
def test_a_rate_that_no_sound_has_is_refused(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE)
    raw = bytearray(path.read_bytes())
    raw[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(InputError, match=f"a.wav: its sample rate is {rate} Hz"):
        audio.decode(path, RATE)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that the user `nobody` may enter, as whom the test goes on: permissions do not bind root."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(before)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700)
    shutil.rmtree(folder)


def test_what_may_not_be_read_is_named(public: Path) -> None:
    root = write(public / "data", rows())
    data = datasets.read_index(root)
    data.path(1).chmod(0)
    for read in (lambda: audio.decode(data.path(1), RATE), lambda: datasets.digest(data)):
        with pytest.raises(InputError) as caught:
            read()
        one_line(caught, "2-b-A-7.wav: cannot be read (Permission denied)")
    assert list(audio.decode_problems([data.path(0), data.path(1)])) == [data.path(1)]
    (root / "audio").chmod(0)
    with pytest.raises(InputError, match="4 unusable"):
        datasets.digest(data)
    (root / "meta" / "esc50.csv").chmod(0)
    with pytest.raises(InputError, match=r"esc50.csv cannot be read: Permission denied"):
        datasets.read_index(root)
    (root / "meta").chmod(0)
    with pytest.raises(InputError, match=r"esc50.csv cannot be read: Permission denied"):
        datasets.read_index(root)


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(InputError, match=r"a.wav: missing"):
        audio.decode(tmp_path / "a.wav", RATE)


@pytest.mark.parametrize("name", ["x" * 300 + ".wav", "a\0b.wav", "a.wav/b.wav"])
def test_names_that_no_file_has(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(InputError):
        audio.decode(tmp_path / name, RATE)


ENCODINGS = {
    "8 bits": ("wav", "PCM_U8"),
    "24 bits": ("wav", "PCM_24"),
    "32 bits": ("wav", "PCM_32"),
    "doubles": ("wav", "DOUBLE"),
    "u-law": ("wav", "ULAW"),
    "ADPCM": ("wav", "IMA_ADPCM"),
    "aifc": ("aiff", "FLOAT"),
    "opus": ("ogg", "OPUS"),
}


@pytest.mark.parametrize("kind", ENCODINGS)
def test_odd_encodings_are_decoded(tmp_path: Path, kind: str) -> None:
    suffix, subtype = ENCODINGS[kind]
    path = tmp_path / f"a [{kind}] ü.{suffix}"
    soundfile.write(path, tone(1.0, 48_000), 48_000, subtype=subtype)
    wave = audio.decode(path, RATE)
    assert len(wave) == pytest.approx(RATE, abs=500)
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
