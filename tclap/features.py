"""Frozen features, computed once, content-addressed on disk, memory-mapped by every trial (design 7.1).

A feature set lives in `cache/features/<key>/`; its key hashes the model's frozen halves, the dataset and the
composites (or texts), so a change of any of them is another set. Sets are written beside their place and renamed:
a reader never sees half of one. Concurrent callers wait for the first (a file lock) and then read.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock
import numpy as np
import torch
from torch import Tensor

from tclap.config import canonical_hash
from tclap.data.compose import COMPOSITION, Composites, load_events, render
from tclap.data.esc50 import Dataset
from tclap.models.base import ContrastiveModel

RENDER_BATCH = 256


@dataclass(frozen=True)
class TextFeatures:
    """Unpadded features of n texts, packed end to end."""

    row_of: dict[str, int]  # text -> row
    values: np.ndarray  # [tokens of all texts, ...]
    offsets: np.ndarray  # [n + 1]

    def take(self, rows: np.ndarray, device: torch.device | str = "cpu") -> list[Tensor]:
        """Features [L, ...] of `rows`, each once more on `device`."""
        return [torch.from_numpy(self.values[self.offsets[r] : self.offsets[r + 1]]).to(device) for r in rows]

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self.row_of[text] for text in texts])


def audio_features(
    model: ContrastiveModel, dataset: Dataset, dataset_digest: str, composites: Composites, cache: Path
) -> np.ndarray:
    """[n, ...] frozen features of `composites`, memory-mapped; read where they exist, else computed.

    Raises InputError naming every clip that cannot be decoded.
    """
    identity = hashlib.sha256(np.ascontiguousarray(composites.rows()).tobytes()).hexdigest()
    key = canonical_hash(
        ["audio", COMPOSITION, model.fingerprint(), model.window_s, model.sample_rate_hz, dataset_digest, identity], 16
    )

    def write(folder: Path) -> None:
        clips = np.union1d(composites.first, composites.second)
        bank = load_events(dataset, clips, model.window_s, model.sample_rate_hz)
        device = model.logit_scale.device
        out: np.memmap | None = None
        for start, stop in _slices(len(composites), RENDER_BATCH):
            wave = torch.from_numpy(render(bank, composites, start, stop)).to(device)
            features = model.audio_frozen(wave).float().cpu().numpy()
            if out is None:
                shape = (len(composites), *features.shape[1:])
                out = np.lib.format.open_memmap(folder / "audio.npy", "w+", features.dtype, shape)
            out[start:stop] = features
        assert out is not None, "no composites to render"
        out.flush()

    return np.load(_once(cache, key, write) / "audio.npy", mmap_mode="r")


def text_features(model: ContrastiveModel, texts: Sequence[str], cache: Path) -> TextFeatures:
    """Frozen features of the distinct `texts`; read where they exist, else computed."""
    distinct = sorted(set(texts))
    key = canonical_hash(["text", model.fingerprint(), distinct], 16)

    def write(folder: Path) -> None:
        features = [f.cpu().numpy() for f in model.text_frozen(distinct)]
        np.save(folder / "values.npy", np.concatenate(features))
        np.save(folder / "offsets.npy", np.cumsum([0, *(len(f) for f in features)]))
        (folder / "texts.json").write_text(json.dumps(distinct))

    folder = _once(cache, key, write)
    rows = {text: row for row, text in enumerate(distinct)}
    return TextFeatures(rows, np.load(folder / "values.npy"), np.load(folder / "offsets.npy"))


def _slices(n: int, size: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + size, n)) for start in range(0, n, size))


def _once(cache: Path, key: str, write: Callable[[Path], None]) -> Path:
    """The folder `cache/features/<key>`, filled by `write` unless it is there already."""
    place = cache / "features" / key
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(place.with_suffix(".lock")):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{key}-") as scratch:
                filled = Path(scratch) / key
                filled.mkdir()
                write(filled)
                filled.rename(place)
    return place
