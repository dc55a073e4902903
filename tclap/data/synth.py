"""The embedded default dataset: parametric sounds in ESC-50's layout, made from nothing but a seed.

It is synthetic and says so: clean, separable sounds that show whether order is learned, not how well real
sound is heard. Each class is a recipe; pitch, rate, level, onset and background are drawn for each clip.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from filelock import FileLock
from scipy.signal import butter, sosfilt

from tclap.data.dataset import COLUMNS
from tclap.errors import InputError
from tclap.places import check_new_folder

SAMPLE_RATE_HZ = 16_000
CLIP_S = 3.0
FOLDS = 5
NOTE = """# Synthetic dataset
These clips are synthetic: made by `tclap data synth`, not recorded. Scores on them show whether a setting teaches
the order of sounds, and say nothing about how well a model hears real ones.
"""

Recipe = Callable[[np.ndarray, float, float, np.random.Generator], np.ndarray]  # (t [s], pitch, rate, rng) -> wave


def _phase(frequency_hz: np.ndarray) -> np.ndarray:
    return 2 * np.pi * np.cumsum(frequency_hz) / SAMPLE_RATE_HZ


def _band(noise: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    high_hz = min(high_hz, 0.48 * SAMPLE_RATE_HZ)
    sos = butter(2, [low_hz, high_hz], btype="bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(sosfilt(sos, noise))


def _saw(t: np.ndarray, hz: float) -> np.ndarray:
    return 2 * ((t * hz) % 1.0) - 1


def _decay(t: np.ndarray, rate_hz: float, decay_s: float) -> np.ndarray:
    return np.exp(-((t * rate_hz) % 1.0) / (rate_hz * decay_s))


def _rising_sweep(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return np.sin(_phase(300 * pitch * 6.0 ** ((t * rate) % 1.0)))


def _falling_sweep(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return np.sin(_phase(1800 * pitch * 6.0 ** -((t * rate) % 1.0)))


def _ticks(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return np.sin(2 * np.pi * 2500 * pitch * t) * _decay(t, 5 * rate, 0.01)


def _noise_bursts(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return _band(rng.standard_normal(len(t)), 800 * pitch, 3000 * pitch) * ((t * 3 * rate) % 1.0 < 0.35)


def _modulated_noise(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    low = _band(rng.standard_normal(len(t)), 100 * pitch, 600 * pitch)
    return low * (1 + np.sin(2 * np.pi * 1.5 * rate * t))


def _chirps(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    position = (t * 4 * rate) % 1.0
    return np.sin(_phase(3000 * pitch * (1 + 0.4 * position))) * (position < 0.3)


def _hum(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(sum(np.sin(2 * np.pi * 100 * pitch * k * t + k) / k for k in range(1, 8)))


def _bells(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    partials = sum(np.sin(2 * np.pi * 700 * pitch * ratio * t) for ratio in (1.0, 2.76, 5.4))
    return partials * _decay(t, 1.2 * rate, 0.25)


def _siren(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return np.sin(_phase(900 * pitch * (1 + 0.35 * np.sin(2 * np.pi * 2 * rate * t))))


def _hiss(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return _band(rng.standard_normal(len(t)), 4000 * pitch, 7000 * pitch)


def _buzz(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return _saw(t, 180 * pitch) * (0.6 + 0.4 * np.sign(np.sin(2 * np.pi * 9 * rate * t)))


def _knocks(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    thump = np.sin(2 * np.pi * 150 * pitch * t) + 0.3 * rng.standard_normal(len(t))
    return thump * _decay(t, 2.2 * rate, 0.05)


def _warble(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return np.sin(_phase(1500 * pitch * np.where((t * 6 * rate) % 1.0 < 0.5, 1.0, 1.5)))


def _crackle(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    impulses = (rng.random(len(t)) < 25 * rate / SAMPLE_RATE_HZ) * rng.standard_normal(len(t))
    return _band(impulses, 1000 * pitch, 6000 * pitch)


def _growl(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return _saw(t, 60 * pitch) * (1 + 0.8 * np.sin(2 * np.pi * 25 * rate * t))


def _arpeggio(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    note = np.floor(t * 5 * rate).astype(int) % 4
    return np.sin(_phase(440 * pitch * np.array([1.0, 1.25, 1.5, 2.0])[note])) * _decay(t, 5 * rate, 0.12)


def _wind(t: np.ndarray, pitch: float, rate: float, rng: np.random.Generator) -> np.ndarray:
    return _band(rng.standard_normal(len(t)), 300 * pitch, 420 * pitch)


# In the order in which classes are added: the first ten are the default dataset, and differ clearly.
RECIPES: dict[str, Recipe] = {
    "rising_sweep": _rising_sweep,
    "ticks": _ticks,
    "noise_bursts": _noise_bursts,
    "hum": _hum,
    "chirps": _chirps,
    "bells": _bells,
    "modulated_noise": _modulated_noise,
    "siren": _siren,
    "falling_sweep": _falling_sweep,
    "hiss": _hiss,
    "buzz": _buzz,
    "knocks": _knocks,
    "warble": _warble,
    "crackle": _crackle,
    "growl": _growl,
    "arpeggio": _arpeggio,
    "wind": _wind,
}
REGISTERS = {"": 1.0, "low_": 0.5, "high_": 1.7}  # further classes are the same recipes in another register
MAX_CLASSES = 50


def class_recipes(classes: int) -> list[tuple[str, Recipe, float]]:
    """(name, recipe, register factor) of the first `classes` classes."""
    everything = [(f"{r}{name}", recipe, factor) for r, factor in REGISTERS.items() for name, recipe in RECIPES.items()]
    return everything[:classes]


def synthesise(recipe: Recipe, register: float, rng: np.random.Generator) -> np.ndarray:
    """One clip [CLIP_S * SAMPLE_RATE_HZ] float32: pitch, rate, level, onset and background drawn from `rng`."""
    n = round(CLIP_S * SAMPLE_RATE_HZ)
    pitch = register * 2.0 ** rng.uniform(-0.15, 0.15)
    rate = 2.0 ** rng.uniform(-0.3, 0.3)
    onset = round(rng.uniform(0, 0.25) * SAMPLE_RATE_HZ)
    level = 10.0 ** rng.uniform(-1.0, 0.0)
    snr = 10.0 ** rng.uniform(0.75, 1.5)
    t = np.arange(n - onset) / SAMPLE_RATE_HZ
    sound = recipe(t, pitch, rate, rng)
    sound = sound / np.sqrt(np.mean(sound**2))
    clip = rng.standard_normal(n) / snr
    clip[onset:] += sound
    return (0.9 * level * clip / np.abs(clip).max()).astype(np.float32)


def write_dataset(out: Path, classes: int = 10, clips: int = 40, seed: int = 0) -> Path:
    """Write `classes` x `clips` clips in 5 folds to `out`, a new or empty folder.

    Raises InputError: classes not in 2..50, clips not a positive multiple of 5, or `out` holds something else.
    """
    if not 2 <= classes <= MAX_CLASSES:
        raise InputError(f"classes {classes} must be between 2 and {MAX_CLASSES}")
    if clips < FOLDS or clips % FOLDS:
        raise InputError(f"clips {clips} must be a positive multiple of {FOLDS}, the number of folds")
    check_new_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        root = Path(scratch) / out.name
        (root / "audio").mkdir(parents=True)
        (root / "meta").mkdir()
        rows = []
        for target, (name, recipe, register) in enumerate(class_recipes(classes)):
            for take in range(clips):
                fold = take % FOLDS + 1
                filename = f"{fold}-{target:02d}{take:04d}-A-{target}.wav"
                wave = synthesise(recipe, register, np.random.default_rng([seed, target, take]))
                soundfile.write(root / "audio" / filename, wave, SAMPLE_RATE_HZ, subtype="PCM_16")
                rows.append((filename, fold, target, name, False, f"{target:02d}{take:04d}", "A"))
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(root / "meta" / "esc50.csv", index=False, encoding="utf-8")
        (root / "README.md").write_text(NOTE, encoding="utf-8")
        if out.exists():
            out.rmdir()
        root.rename(out)
    return out


def is_synthetic(root: Path) -> bool:
    """Whether the folder says of itself that `write_dataset` made it."""
    note = root / "README.md"
    return note.is_file() and note.read_text(encoding="utf-8", errors="replace") == NOTE


def default_dataset(storage: Path) -> Path:
    """The embedded default below `storage`, written if it is not there yet."""
    place = default_place(storage)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):  # two first sweeps in one storage
            if not place.exists():
                write_dataset(place)
    return place


def default_place(storage: Path) -> Path:
    """Where the embedded default lies below a folder."""
    return storage / "data" / "synth"
