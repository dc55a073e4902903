"""Events and composite windows: what every model hears (design 3).

Shapes: T samples of a window, n composites, B windows rendered at once.

No window repeats itself and every window has one length and one RMS, so that neither length, loudness nor
periodicity tells the kinds apart. Nor does silence: all kinds of a draw sound in the same spans of their windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np

from tclap.data.dataset import Dataset, decode, raise_problems
from tclap.errors import InputError

EVENT_RMS = 0.1
WINDOW_RMS = 0.05
NOISE_DB = 20  # how far another recording underneath lies below the events
SINGLE, JOIN, OVERLAY = 0, 1, 2
# Onsets and lengths are whole thousandths of the window, so that equal timings are equal numbers whatever the model.
GRID = 1000
NO_NOISE = -1
# Part of every feature set's key: raise the number when the same clips would make other windows than before.
COMPOSITION = [2, EVENT_RMS, WINDOW_RMS, NOISE_DB]

# A timing is (onset, length) of the first and (onset, length) of the second span of sound. A length of 0 is no span.
MIDPOINT = np.array([0, GRID // 2, GRID // 2, GRID // 2])
WHOLE = np.array([0, GRID, GRID, 0])


@dataclass(frozen=True)
class Composites:
    """n windows to render; equal rows render to equal audio.

    A row is kind, first clip, second clip, the timing (4 numbers) and the clip whose noise lies underneath. A JOIN has
    its first clip in the first span and its second in the second; a SINGLE (whose clips are equal) and an OVERLAY have
    one event as long as both spans, cut where the spans are.
    """

    table: np.ndarray  # [n, 8] int64

    def __len__(self) -> int:
        return len(self.table)

    @property
    def kind(self) -> np.ndarray:
        """[n] SINGLE, JOIN or OVERLAY."""
        return self.table[:, 0]

    @property
    def first(self) -> np.ndarray:
        """[n] clip index."""
        return self.table[:, 1]

    @property
    def second(self) -> np.ndarray:
        """[n] clip index; equals `first` for SINGLE."""
        return self.table[:, 2]

    @property
    def timing(self) -> np.ndarray:
        """[n, 4] onset and length of either span, in thousandths of the window."""
        return self.table[:, 3:7]

    @property
    def noise(self) -> np.ndarray:
        """[n] clip index, or NO_NOISE."""
        return self.table[:, 7]

    def rows(self) -> np.ndarray:
        """[n, 8] int64, the identity of each composite."""
        return self.table

    def clips(self) -> np.ndarray:
        """Every clip that is heard, ascending."""
        heard = np.unique(self.table[:, [1, 2, 7]])
        return heard[heard != NO_NOISE]

    def events(self) -> np.ndarray:
        """[events, 2] distinct (clip, length in thousandths) that must be cut to render these."""
        joined = self.kind == JOIN
        own = np.stack([self.first, np.where(joined, self.timing[:, 1], self.timing[:, 1] + self.timing[:, 3])], axis=1)
        other = np.stack([self.second, np.where(joined, self.timing[:, 3], own[:, 1])], axis=1)
        noise = np.stack([self.noise, np.full(len(self), GRID)], axis=1)[self.noise != NO_NOISE]
        return np.unique(np.concatenate([own, other, noise]), axis=0)


def single(clips: np.ndarray, timing: np.ndarray = WHOLE) -> np.ndarray:
    """Rows of single windows, `[..., 8]` for clips of any shape and timing [..., 4]; by default E_i."""
    return _rows(SINGLE, clips, clips, timing)


def join(first: np.ndarray, second: np.ndarray, timing: np.ndarray = MIDPOINT) -> np.ndarray:
    """Rows of first ⊕ second, `[..., 8]`; by default each has half of the window."""
    return _rows(JOIN, first, second, timing)


def overlay(one: np.ndarray, other: np.ndarray, timing: np.ndarray = WHOLE) -> np.ndarray:
    """Rows of one ∧ other, `[..., 8]`; the operator commutes, so the lower clip index comes first."""
    return _rows(OVERLAY, np.minimum(one, other), np.maximum(one, other), timing)


def with_noise(rows: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """The same rows [..., 8] with the recordings `clips` [...] NOISE_DB underneath."""
    noisy = rows.copy()
    noisy[..., 7] = clips
    return noisy


def _rows(kind: int, first: np.ndarray, second: np.ndarray, timing: np.ndarray) -> np.ndarray:
    spans = np.broadcast_to(timing, (*first.shape, 4))
    ends = [np.full_like(first, kind), first, second], [np.full_like(first, NO_NOISE)]
    return np.stack([*ends[0], *np.moveaxis(spans, -1, 0), *ends[1]], axis=-1).astype(np.int64)


def unique_composites(rows: np.ndarray) -> tuple[Composites, np.ndarray]:
    """Distinct composites of `rows` [..., 8], and for each row its index among them, of shape [...]."""
    distinct, index = np.unique(rows.reshape(-1, rows.shape[-1]), axis=0, return_inverse=True)
    return Composites(distinct), index.reshape(rows.shape[:-1])


def loudest(clip: np.ndarray, length: int) -> tuple[int, float]:
    """Start of the loudest `length` samples of a mono clip [t], and the gain to EVENT_RMS unless the peak passes 1.

    A shorter clip counts as zero-padded at its end. The earliest of equally loud parts is taken.
    """
    return _loudest(clip, np.concatenate([[0.0], np.cumsum(np.square(clip, dtype=np.float64))]), length)


def _loudest(clip: np.ndarray, energy: np.ndarray, length: int) -> tuple[int, float]:
    start = 0 if len(clip) < length else int(np.argmax(energy[length:] - energy[: len(energy) - length]))
    part = clip[start : start + length]
    if len(part) < length:
        part = np.pad(part, (0, length - len(part)))
    rms = np.sqrt(np.mean(np.square(part, dtype=np.float64)))
    return start, float(min(EVENT_RMS / rms, 1.0 / np.abs(part).max()))


def event(clip: np.ndarray, length: int) -> np.ndarray:
    """The loudest `length` samples of a mono clip [t], at EVENT_RMS unless the peak would pass 1. [length]"""
    start, gain = loudest(clip, length)
    part = clip[start : start + length] * np.float32(gain)
    return np.pad(part, (0, length - len(part)))


@dataclass(frozen=True)
class EventBank:
    """The events of some clips: every clip decoded once, and cut to what its events hold of it.

    Arrays, so that an extraction can map them from files. The clips lie end to end in `samples`; an event may be
    shorter than its length, and is zero from there on.
    """

    samples: np.ndarray  # [all samples] float32, as decoded
    keys: np.ndarray  # [events, 2] clip and length in thousandths, in ascending order
    starts: np.ndarray  # [events] first sample of each event in `samples`
    stops: np.ndarray  # [events]
    gains: np.ndarray  # [events] float32
    window: np.ndarray  # [1] T

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def find(self, clips: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Rows of the events of these clips and lengths; KeyError for one that was not cut."""
        order = self.keys[:, 0] * (GRID + 1) + self.keys[:, 1]
        wanted = clips * (GRID + 1) + lengths
        rows = np.minimum(np.searchsorted(order, wanted), len(order) - 1)
        if (order[rows] != wanted).any():
            raise KeyError(f"clip {clips[order[rows] != wanted][0]} has no event of that length")
        return rows

    def cut(self, row: int) -> np.ndarray:
        """One event without its padding, at its gain. [<= its length]"""
        part: np.ndarray = self.samples[self.starts[row] : self.stops[row]] * self.gains[row]
        return part


def load_events(dataset: Dataset, composites: Composites, window_s: float, sample_rate_hz: int) -> EventBank:
    """Decode the clips of `composites` and cut their events, each the loudest part of its length in the whole clip.

    Raises one InputError naming every file that cannot be used.
    """
    window = round(window_s * sample_rate_hz)
    keys = composites.events()
    clips, first = np.unique(keys[:, 0], return_index=True)
    groups = np.split(keys[:, 1], first[1:])

    def load(clip: int, lengths: np.ndarray) -> str | tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
        try:
            wave = decode(dataset.path(clip), sample_rate_hz)
        except InputError as error:
            return str(error)
        return cut_events(wave, [samples_of(int(length), window) for length in lengths])

    with ThreadPoolExecutor() as pool:
        loaded = list(pool.map(load, clips.tolist(), groups))
    raise_problems(dataset.audio, [problem for problem in loaded if isinstance(problem, str)])
    return pack_events(keys, [part for part in loaded if not isinstance(part, str)], window)


Cut = tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]


def cut_events(wave: np.ndarray, lengths: Iterable[int]) -> Cut:
    """The stretch of a decoded clip that its loudest parts of these lengths span, where they start and stop in it, and
    their gains."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
    found = [(*_loudest(wave, energy, length), length) for length in lengths]
    starts = np.array([start for start, _, _ in found])
    stops = np.array([min(start + length, len(wave)) for start, _, length in found])
    begin = starts.min()
    return wave[begin : stops.max()].copy(), starts - begin, stops - begin, [gain for _, gain, _ in found]


def pack_events(keys: np.ndarray, cuts: list[Cut], window: int) -> EventBank:
    """A bank of `keys` [events, 2] from the cuts of its clips, in their order."""
    sizes = np.array([len(samples) for samples, _, _, _ in cuts])
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    return EventBank(
        np.concatenate([samples for samples, _, _, _ in cuts]),
        keys,
        np.concatenate([cut[1] + offset for cut, offset in zip(cuts, offsets, strict=True)]),
        np.concatenate([cut[2] + offset for cut, offset in zip(cuts, offsets, strict=True)]),
        np.concatenate([cut[3] for cut in cuts]).astype(np.float32),
        np.array([window]),
    )


def samples_of(length: int, window: int) -> int:
    """Samples of a span of `length` thousandths, rounded down, as onsets are rounded up: spans that do not overlap in
    thousandths do not in samples, and end within the window."""
    return length * window // GRID


def render(bank: EventBank, composites: Composites, start: int, stop: int) -> np.ndarray:
    """Windows [B, T] of composites start..stop, each at WINDOW_RMS."""
    part = Composites(composites.table[start:stop])
    window = int(bank.window[0])
    windows = np.zeros((len(part), window), np.float32)
    joined = part.kind == JOIN
    whole = part.timing[:, 1] + part.timing[:, 3]
    one = bank.find(part.first, np.where(joined, part.timing[:, 1], whole))
    other = bank.find(part.second, np.where(joined, part.timing[:, 3], whole))
    onsets = -(-part.timing[:, [0, 2]] * window // GRID)  # rounded up
    first_lengths = part.timing[:, 1] * window // GRID
    noisy = np.flatnonzero(part.noise != NO_NOISE)
    noise = dict(zip(noisy, bank.find(part.noise[noisy], np.full(len(noisy), GRID)), strict=True))
    for row, kind in enumerate(part.kind):
        first_onset, second_onset = onsets[row]
        if kind == JOIN:
            _add(windows[row], bank.cut(one[row]), first_onset)
            _add(windows[row], bank.cut(other[row]), second_onset)
        else:
            sound = np.zeros(samples_of(int(whole[row]), window), np.float32)
            _add(sound, bank.cut(one[row]), 0)
            if kind == OVERLAY:
                _add(sound, bank.cut(other[row]), 0)
            _add(windows[row], sound[: first_lengths[row]], first_onset)
            _add(windows[row], sound[first_lengths[row] :], second_onset)
        if row in noise:
            _add(windows[row], np.float32(10 ** (-NOISE_DB / 20)) * bank.cut(noise[row]), 0)
    rms = np.sqrt(np.mean(np.square(windows, dtype=np.float64), axis=1, keepdims=True))
    return (windows * (WINDOW_RMS / rms)).astype(np.float32)


def _add(window: np.ndarray, sound: np.ndarray, onset: int) -> None:
    room = window[onset : onset + len(sound)]
    room += sound[: len(room)]  # a span of one sound may be a sample longer than its two parts rounded down
