"""Events and composite windows: what every model hears (design 3).

Shapes: T samples of a window, T/2 of a half window, n composites, B windows rendered at once.

No window repeats itself and every window has one length and one RMS, so that neither length, loudness nor
periodicity tells the kinds apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tclap.data.audio import decode, raise_problems
from tclap.data.dataset import Dataset
from tclap.errors import InputError

EVENT_RMS = 0.1
WINDOW_RMS = 0.05
SINGLE, JOIN, OVERLAY = 0, 1, 2
# Part of every feature set's key: raise the number when the same clips would make other windows than before.
COMPOSITION = [2, EVENT_RMS, WINDOW_RMS]


@dataclass(frozen=True)
class Composites:
    """n windows to render; equal rows render to equal audio."""

    kind: np.ndarray  # [n] SINGLE, JOIN or OVERLAY
    first: np.ndarray  # [n] clip index
    second: np.ndarray  # [n] clip index; equals `first` for SINGLE

    def __len__(self) -> int:
        return len(self.kind)

    def rows(self) -> np.ndarray:
        """[n, 3] int64, the identity of each composite."""
        return np.stack([self.kind, self.first, self.second], axis=1).astype(np.int64)


def single(clips: np.ndarray) -> np.ndarray:
    """Rows of single windows E_i, `[..., 3]` for clips of any shape."""
    return np.stack([np.full_like(clips, SINGLE), clips, clips], axis=-1)


def join(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rows of e_first ⊕ e_second, `[..., 3]`."""
    return np.stack([np.full_like(first, JOIN), first, second], axis=-1)


def overlay(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rows of E_one ∧ E_other, `[..., 3]`; the operator commutes, so the lower clip index comes first."""
    return np.stack([np.full_like(one, OVERLAY), np.minimum(one, other), np.maximum(one, other)], axis=-1)


def unique_composites(rows: np.ndarray) -> tuple[Composites, np.ndarray]:
    """Distinct composites of `rows` [..., 3], and for each row its index among them, of shape [...]."""
    distinct, index = np.unique(rows.reshape(-1, 3), axis=0, return_inverse=True)
    return Composites(*distinct.T), index.reshape(rows.shape[:-1])


def event(clip: np.ndarray, length: int) -> np.ndarray:
    """The loudest `length` samples of a mono clip [t], at EVENT_RMS unless the peak would pass 1. [length]

    A shorter clip is zero-padded at its end. The earliest of equally loud windows is taken.
    """
    if len(clip) < length:
        part = np.pad(clip, (0, length - len(clip)))
    else:
        energy = np.concatenate([[0.0], np.cumsum(np.square(clip, dtype=np.float64))])
        start = int(np.argmax(energy[length:] - energy[:-length]))
        part = clip[start : start + length]
    rms = np.sqrt(np.mean(np.square(part, dtype=np.float64)))
    gain = min(EVENT_RMS / rms, 1.0 / np.abs(part).max())
    return (part * gain).astype(np.float32)


@dataclass(frozen=True)
class EventBank:
    """The events of some clips, decoded once."""

    row_of: dict[int, int]  # clip index -> row
    whole: np.ndarray  # [clips, T]
    half: np.ndarray  # [clips, T/2]


def load_events(dataset: Dataset, clips: Iterable[int], window_s: float, sample_rate_hz: int) -> EventBank:
    """Decode `clips` and cut their events. Raises one InputError naming every file that cannot be used."""
    ids = [int(clip) for clip in clips]
    length = round(window_s * sample_rate_hz)
    half = length // 2
    bank = EventBank(
        {clip: row for row, clip in enumerate(ids)},
        np.empty((len(ids), length), np.float32),
        np.empty((len(ids), half), np.float32),
    )

    def load(row: int) -> str | None:
        try:
            wave = decode(dataset.path(ids[row]), sample_rate_hz)
        except InputError as error:
            return str(error)
        bank.whole[row] = event(wave, length)
        bank.half[row] = event(wave, half)
        return None

    with ThreadPoolExecutor() as pool:
        raise_problems(dataset.audio, [problem for problem in pool.map(load, range(len(ids))) if problem])
    return bank


def render(bank: EventBank, composites: Composites, start: int, stop: int) -> np.ndarray:
    """Windows [B, T] of composites start..stop, each at WINDOW_RMS."""
    kind = composites.kind[start:stop]
    first = np.array([bank.row_of[int(clip)] for clip in composites.first[start:stop]])
    second = np.array([bank.row_of[int(clip)] for clip in composites.second[start:stop]])
    windows = np.array(bank.whole[first])  # [B, T] right as it is for SINGLE
    joined, overlaid = kind == JOIN, kind == OVERLAY
    half = bank.half.shape[1]
    windows[joined] = 0  # the middle sample of an odd window
    windows[joined, :half] = bank.half[first[joined]]
    windows[joined, windows.shape[1] - half :] = bank.half[second[joined]]
    windows[overlaid] += bank.whole[second[overlaid]]
    rms = np.sqrt(np.mean(np.square(windows, dtype=np.float64), axis=1, keepdims=True))
    return (windows * (WINDOW_RMS / rms)).astype(np.float32)
