"""Frozen features, computed once, content-addressed on disk, memory-mapped by every trial (design 7.1).

A feature set lives in `cache/features/<key>/`; its key hashes the model's frozen halves, the dataset and the
composites (or texts), so a change of any of them is another set. Audio features are computed in chunks inside
`<key>.partial/`, by this process or by many at once, and the folder is renamed when every chunk is there: a reader
never sees half of a set, and an interrupted extraction goes on with the chunks that are missing.

Audio features are stored in float16 (`benchmarks/precision.py` shows that the scores do not move), except
where a model's frozen half is empty and its features are the wave itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tclap.cache import made_once, once, publish, put
from tclap.config import canonical_hash
from tclap.data.compose import COMPOSITION, Composites, EventBank, load_events, render
from tclap.data.dataset import Dataset
from tclap.errors import InputError
from tclap.models.protocol import ContrastiveModel, as_kept, beyond_float16, padded

GPU_MARGIN = 0.5  # share of a GPU's free memory that features leave to the model, its optimiser and activations
# Part of every audio set's key: raise it when a model's frozen half would give other features than before.
FRONT_ENDS = 2  # 2: msclap's spectrogram in float32 on a GPU, too
CHUNK = 256  # windows computed, and kept by an interrupted extraction, at once


@dataclass(frozen=True)
class TextFeatures:
    """Frozen features of n texts as one tensor, padded at the end to the longest of them."""

    row_of: dict[str, int]  # text -> row
    padded: Tensor  # [n, L, ...]
    lengths: Tensor  # [n] on the CPU, so that the longest of a batch is known without waiting for a GPU

    def take(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """([B, L, ...], [B]): features of `rows`, padded to the longest of these rows, and lengths, where they live."""
        index = torch.from_numpy(rows)
        lengths, device = self.lengths[index], self.padded.device
        return self.padded[:, : int(lengths.max())][index.to(device)], lengths.to(device)

    def to(self, device: torch.device | str) -> TextFeatures:
        return TextFeatures(self.row_of, self.padded.to(device), self.lengths)

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self.row_of[text] for text in texts])


@dataclass(frozen=True)
class Extraction:
    """An audio feature set in the making; everything about it but the numbers lies in its folder."""

    place: Path  # where the finished set will be
    composites: Composites

    @property
    def folder(self) -> Path:
        return self.place.with_suffix(".partial")

    @property
    def chunks(self) -> int:
        """How many there are."""
        return math.ceil(len(self.composites) / CHUNK)

    def pending(self) -> list[int]:
        """Chunks that are not computed yet."""
        return [chunk for chunk in range(self.chunks) if not (self.folder / f"chunk-{chunk}").exists()]


def audio_extraction(
    model: ContrastiveModel, dataset: Dataset, dataset_digest: str, composites: Composites, cache: Path
) -> Extraction:
    """The feature set of `composites`; whether it exists is `.place.exists()`."""
    identity = hashlib.sha256(np.ascontiguousarray(composites.rows()).tobytes()).hexdigest()
    key = canonical_hash(
        [
            *("audio", COMPOSITION, FRONT_ENDS, model.fingerprint()),
            *(model.window_s, model.sample_rate_hz, dataset_digest, identity),
        ],
        16,
    )
    return Extraction(cache / "features" / key, composites)


def start_extraction(extraction: Extraction, model: ContrastiveModel, dataset: Dataset) -> int:
    """Decode the clips and lay out the files, unless that was done before; returns the size of the set in bytes.

    Raises InputError naming every clip that cannot be decoded, where the disk has too little room for the set, or where
    the first window's features are too large for float16.
    """
    folder, composites = extraction.folder, extraction.composites
    if not (folder / "audio.npy").exists():
        bank = load_events(dataset, composites, model.window_s, model.sample_rate_hz)
        probe = _frozen(model, render(bank, composites, 0, 1))
        # A set that was interrupted while it was put in its place leaves markers of chunks that are not here any more.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shape = (len(composites), *probe.shape[1:])
        _check_room(folder, bank.nbytes + probe[0].nbytes * len(composites))
        for field in dataclasses.fields(EventBank):
            np.save(folder / f"events-{field.name}.npy", getattr(bank, field.name))
        np.lib.format.open_memmap(folder / "laid-out.npy", "w+", probe.dtype, shape).flush()
        # Taken now (not on macOS): on a disk that fills up later, writing to a hole in a mapped file kills the process.
        with contextlib.suppress(AttributeError), open(folder / "laid-out.npy", "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        (folder / "laid-out.npy").rename(folder / "audio.npy")  # last: where it is, all the files are whole
    return int(_mapped(folder / "audio.npy").nbytes)


def _check_room(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise InputError(
            f"{folder} needs {needed_bytes / 1e6:.0f} MB for frozen features, and its disk has {free / 1e6:.0f} MB "
            "free: make room, or use another --storage"
        )


def compute_chunk(extraction: Extraction, model: ContrastiveModel, chunk: int) -> None:
    """Compute one chunk of a started extraction; any process that sees the folder may, in any order, and again.

    Raises InputError where the model's features are too large for float16.
    """
    folder, composites = extraction.folder, extraction.composites
    files = {field.name: folder / f"events-{field.name}.npy" for field in dataclasses.fields(EventBank)}
    bank = EventBank(**{name: _mapped(file) for name, file in files.items()})
    start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, len(composites))
    features = _frozen(model, render(bank, composites, start, stop))
    laid_out = _mapped(folder / "audio.npy")
    # Written, not mapped: chunks share pages, and NFS would write a neighbour's rows back as this node saw them.
    with open(folder / "audio.npy", "r+b") as file:
        file.seek(laid_out.offset + start * laid_out.strides[0])
        file.write(features.tobytes())
        file.flush()
        os.fsync(file.fileno())  # before the marker, which says that they are there
    (folder / f"chunk-{chunk}").touch()


def finish_extraction(extraction: Extraction) -> None:
    """Put the features in their place, once every chunk is there, and drop what they were made from.

    May be called again after it was interrupted. Raises RuntimeError where a chunk is missing: its rows would be zeros.
    """
    if not extraction.place.exists():
        if missing := extraction.pending():
            raise RuntimeError(f"{extraction.folder} lacks the chunks {missing}")

        def move(folder: Path) -> None:
            (extraction.folder / "audio.npy").rename(folder / "audio.npy")

        put(extraction.place, move)
    publish(extraction.place)
    shutil.rmtree(extraction.folder, ignore_errors=True)


def _frozen(model: ContrastiveModel, windows: np.ndarray) -> np.ndarray:
    """[B, ...] features as they are kept. Raises InputError where they are too large for that."""
    wave = torch.from_numpy(windows).to(model.logit_scale.device)
    features = model.audio_frozen(wave)
    kept = as_kept(features, wave)
    if problem := beyond_float16(features, kept):
        raise InputError(f"{model.name}: {problem}")
    return kept


def audio_features(
    model: ContrastiveModel, dataset: Dataset, dataset_digest: str, composites: Composites, cache: Path
) -> np.ndarray:
    """[n, ...] frozen features of `composites`, memory-mapped; read where they exist, else computed here.

    Raises InputError naming every clip that cannot be decoded, a file of the set that is damaged, or a model whose
    features are too large for float16.
    """
    extraction = audio_extraction(model, dataset, dataset_digest, composites, cache)

    def make() -> None:
        start_extraction(extraction, model, dataset)
        for chunk in extraction.pending():
            compute_chunk(extraction, model, chunk)
        finish_extraction(extraction)

    return _mapped(once(extraction.place, make) / "audio.npy")


def _mapped(file: Path) -> np.memmap:
    """The array in `file`, memory-mapped. Raises InputError if it is damaged: cut short by a full disk, or changed."""
    try:
        return np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> InputError:
    return InputError(f"{file} cannot be read ({error}): remove the folder {file.parent}, and it is computed again")


def text_features(model: ContrastiveModel, texts: Sequence[str], cache: Path) -> TextFeatures:
    """Frozen features of the distinct `texts`; read where they exist, else computed.

    Raises InputError naming a file of the set that is damaged.
    """
    distinct = sorted(set(texts))
    key = canonical_hash(["text", model.fingerprint(), distinct], 16)

    def write(folder: Path) -> None:
        features = [f.cpu().numpy() for f in model.text_frozen(distinct)]
        np.save(folder / "values.npy", np.concatenate(features))
        np.save(folder / "offsets.npy", np.cumsum([0, *(len(f) for f in features)]))
        (folder / "texts.json").write_text(json.dumps(distinct), encoding="utf-8")

    folder = made_once(cache / "features" / key, write)
    values, offsets = torch.from_numpy(np.array(_mapped(folder / "values.npy"))), _mapped(folder / "offsets.npy")
    return padded_texts(distinct, values.split(np.diff(offsets).tolist()), model.padding_value)


def padded_texts(texts: Sequence[str], features: Sequence[Tensor], padding_value: float) -> TextFeatures:
    """The features [L, ...] of distinct `texts` as `TextFeatures`, on their device."""
    tensor, lengths = padded(features, padding_value)
    return TextFeatures({text: row for row, text in enumerate(texts)}, tensor, lengths.cpu())


def on_device(
    audio: np.ndarray,
    device: torch.device | str,
    say: Callable[[str], None],
    free_bytes: Callable[[torch.device], int] | None = None,
) -> np.ndarray | Tensor:
    """Audio features [n, ...] where training reads them: one tensor on a GPU that has room, else as they are.

    say: told in one line which of the two it is, on a GPU. free_bytes: how much memory a device has left; default:
    asked of CUDA. `GPU_MARGIN` of the free memory is left to the model and its activations. On a CPU the memory-mapped
    file stays: its pages are the copy in memory already.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return audio
    free = (free_bytes or _free_bytes)(device)
    size = f"features of {len(audio)} windows, {audio.nbytes / 1e9:.2f} GB"
    if audio.nbytes > (1 - GPU_MARGIN) * free:
        say(f"{size}, stay in their file: {device} has {free / 1e9:.2f} GB free, of which {GPU_MARGIN:.0%} are kept")
        return audio
    say(f"{size}, are on {device}")
    kept = torch.empty(audio.shape, dtype=torch.from_numpy(np.array(audio[:0])).dtype, device=device)
    for start in range(0, len(audio), CHUNK):  # never the whole set in the memory of the host
        kept[start : start + CHUNK] = torch.from_numpy(np.array(audio[start : start + CHUNK]))
    return kept


def windows_of(audio: np.ndarray | Tensor, rows: np.ndarray, device: torch.device | str) -> Tensor:
    """[B, ...] the features `rows` of `audio` on `device`, by one index operation and at most one copy to a device."""
    if isinstance(audio, Tensor):
        return audio[torch.from_numpy(rows).to(audio.device)].to(device)
    return torch.from_numpy(audio[rows]).to(device)


def _free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0]
