"""Sound files as the models hear them: decoded, mono, at the model's rate; and what is wrong with the others."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, sosfiltfilt

from tclap.data.container import cut_short, has_length, mp3_frames
from tclap.errors import InputError

SILENCE_PEAK = 1e-4  # a clip that never passes -80 dBFS counts as silent
RATES_HZ = (1000, 1_000_000)  # of recorded sound; a damaged header names others
# What libsndfile does not read and ffmpeg does; `tclap data import` converts it.
FOR_FFMPEG = {".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".mkv", ".mov", ".amr", ".3gp"}
FRAMES_A_BYTE = 1024  # more than any codec makes of one byte; a header that promises more does not know
BLOCK = 1 << 16
SLACK = 2304  # two frames of mp3: encoders disagree whether the one that holds the header counts
# What lies below is not heard, by people or by these models (the lowest mel filters begin at 50 Hz), but it counts in a
# clip's loudness: wind, handling and DC would choose the event and set its level.
HIGH_PASS_HZ = 40.0
PADDING_S = (
    0.1  # four periods of the corner, by which a clip is continued on either side, so that its edges do not ring
)
HIGH_PASS_ORDER = 4  # of Butterworth, run forwards and backwards: -6 dB at the corner, -48 dB an octave below, no delay


def decode(path: Path, sample_rate_hz: int) -> np.ndarray:
    """A clip as mono float32 [T] at `sample_rate_hz`, without what lies below HIGH_PASS_HZ.

    Raises InputError, naming the file, if it is missing, unreadable, cut short, empty or silent.
    """
    mono, rate_hz = _read(path)
    if not len(mono):
        raise InputError(f"{path.name}: empty")
    if not np.isfinite(mono).all():
        raise InputError(f"{path.name}: holds NaN or infinite samples")
    if rate_hz != sample_rate_hz:
        # Its memory does not depend on the ratio of the rates; a table of filters for 16001:16000 takes gigabytes.
        mono = soxr.resample(mono, rate_hz, sample_rate_hz)
    wave = high_pass(mono, sample_rate_hz) if len(mono) else mono
    if not len(wave) or np.abs(wave).max() < SILENCE_PEAK:  # of what is heard: not of DC, nor of the band above
        raise InputError(f"{path.name}: silent at {sample_rate_hz} Hz (peak below {SILENCE_PEAK:g})")
    return wave


def _read(path: Path) -> tuple[np.ndarray, int]:
    """All of a file as mono float32 [t], and its sample rate."""
    problem = _unusable(path)
    if problem:
        raise InputError(f"{path.name}: {problem}")
    try:
        with soundfile.SoundFile(path) as file:
            if not RATES_HZ[0] <= file.samplerate <= RATES_HZ[1]:
                raise InputError(f"{path.name}: its sample rate is {file.samplerate} Hz; sound has {RATES_HZ}")
            if file.frames > FRAMES_A_BYTE * path.stat().st_size:
                return _read_to_the_end(path), file.samplerate
            mono = file.read(dtype="float32", always_2d=True).mean(axis=1)
            promised = file.frames
            guessed = file.format == "MP3" and not has_length(path)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path.name}: unreadable ({error.error_string})") from error
    problem = cut_short(path)
    if guessed:
        promised, whole = mp3_frames(path)
        problem = None if whole else "cut short: its last block is not whole"
    if problem is None and len(mono) < promised - SLACK:
        problem = f"cut short: it should have {promised} frames, {len(mono)} can be decoded"
    if problem:
        raise InputError(f"{path.name}: {problem}")
    return mono, file.samplerate


class _Streamed(soundfile.SoundFile):
    """A file whose header does not know its length: soundfile seeks after each read, which libsndfile refuses here."""

    def seekable(self) -> bool:
        return False


def _read_to_the_end(path: Path) -> np.ndarray:
    """[t] of FLAC that was written into a pipe: libsndfile says that it has 2^63 - 1 frames."""
    blocks = [np.zeros(0, np.float32)]
    with _Streamed(path) as file:
        while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
            blocks.append(block.mean(axis=1))
    return np.concatenate(blocks)


def unreadable(path: Path) -> str | None:
    """What keeps anyone from reading a file, or None: it is missing, is no file, or may not be read."""
    if not is_utf8(str(path)):
        return "its name, or its folder's, is not in UTF-8 (rename it, for example with convmv)"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a named pipe would wait for ever
            return "missing (it is no file)"
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None


def is_utf8(name: str) -> bool:
    """Whether the name of a file, as Python gives it, can be written into a text: an old disk's may be in Latin-1."""
    return not any("\udc80" <= character <= "\udcff" for character in name)


def _unusable(path: Path) -> str | None:
    """What keeps a decoder from being tried, or None."""
    if path.suffix.lower() == ".raw":
        return "unreadable (raw samples say neither rate nor format: convert it to wav or flac)"
    if path.suffix.lower() in FOR_FFMPEG and not unreadable(path):
        return (
            f"unreadable ({path.suffix} is no format of libsndfile's: convert it to wav or flac with ffmpeg; "
            "tclap data import does so for a dataset)"
        )
    return unreadable(path)


def high_pass(mono: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """[T] float32 without what lies below HIGH_PASS_HZ; DC becomes zeros, from the first sample on."""
    sections = butter(HIGH_PASS_ORDER, HIGH_PASS_HZ, btype="highpass", fs=sample_rate_hz, output="sos")
    padding = min(round(PADDING_S * sample_rate_hz), len(mono) - 1)
    return np.asarray(sosfiltfilt(sections, mono.astype(np.float64), padtype="even", padlen=padding), dtype=np.float32)


def decode_problems(paths: Iterable[Path], sample_rate_hz: int | None = None) -> dict[Path, str]:
    """One line for each file that cannot be used, in the order of `paths`.

    sample_rate_hz: of the model that is going to hear them; None: each file's own.
    """

    def problem(path: Path) -> str | None:
        try:
            decode(path, sample_rate_hz or _own_rate(path))
        except InputError as error:
            return str(error)
        return None

    files = list(paths)
    with ThreadPoolExecutor() as pool:
        return {path: line for path, line in zip(files, pool.map(problem, files), strict=True) if line}


def _own_rate(path: Path) -> int:
    problem = _unusable(path)
    if problem:
        raise InputError(f"{path.name}: {problem}")
    try:
        return int(soundfile.info(path).samplerate)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path.name}: unreadable ({error.error_string})") from error


def without_length(paths: Iterable[Path]) -> list[Path]:
    """The files of which nothing says how long they should be, so that half of one looks whole (mp3 without header)."""
    return [path for path in paths if _unusable(path) is None and not has_length(path)]


def raise_problems(folder: Path, problems: Iterable[str]) -> None:
    """Raise one InputError naming every problem with the files of `folder`, or nothing if there is none."""
    lines = list(problems)
    if lines:
        raise InputError(f"{folder}: {len(lines)} unusable file(s): {'; '.join(lines)}")
