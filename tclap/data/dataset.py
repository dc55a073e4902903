"""Datasets in ESC-50's layout: `meta/esc50.csv` and `audio/`; the index, decoding, checks, digest, download."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
import torchaudio.functional

from tclap.errors import InputError

COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
SILENCE_PEAK = 1e-4  # a clip that never passes -80 dBFS counts as silent
ESC50_URL = "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip"
ESC50_ZIP_HASH = "md5:629e8e9ebc1592bcceb06da6bec40275"


@dataclass(frozen=True)
class Dataset:
    """An indexed dataset of n clips; no audio has been read."""

    root: Path
    filenames: tuple[str, ...]
    folds: np.ndarray  # [n] int
    class_ids: np.ndarray  # [n] int, 0..C-1 in the order of the csv's `target`
    class_names: tuple[str, ...]  # [C] with spaces instead of underscores
    recordings: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # [n] int: clips of equal ones depend

    def __post_init__(self) -> None:
        if len(self.recordings) != len(self.filenames):  # not given: each clip is a recording of its own
            object.__setattr__(self, "recordings", np.arange(len(self.filenames)))

    @property
    def audio(self) -> Path:
        return self.root / "audio"

    def path(self, clip: int) -> Path:
        return self.audio / self.filenames[clip]

    def clips_in(self, folds: Iterable[int]) -> np.ndarray:
        """Indices of the clips of `folds`, ascending."""
        return np.flatnonzero(np.isin(self.folds, list(folds)))


def read_index(root: Path) -> Dataset:
    """Read `root/meta/esc50.csv`.

    Raises InputError naming the file where it is missing, has wrong columns, values or repeated filenames.
    """
    csv = Path(root) / "meta" / "esc50.csv"
    if not csv.is_file():
        raise InputError(f"{csv} not found: a dataset is a folder with meta/esc50.csv and audio/ (ESC-50's layout)")
    try:
        table = pd.read_csv(csv, dtype={"filename": str, "category": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{csv} is not a readable csv file: {str(error).strip()}") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise InputError(f"{csv} lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
    for column in ("fold", "target"):
        numbers = pd.to_numeric(table[column], errors="coerce")
        bad = np.flatnonzero(~np.isfinite(numbers) | (numbers != numbers.round()))
        if len(bad):
            raise InputError(f"{csv} line {bad[0] + 2}: {column} {table[column].iloc[bad[0]]!r} is not a whole number")
        table[column] = numbers.astype(int)
    if table.empty:
        raise InputError(f"{csv} lists no clips")
    if table[["filename", "category"]].isna().any(axis=None):
        raise InputError(f"{csv} has an empty filename or category")
    repeated = table["filename"][table["filename"].duplicated()]
    if len(repeated):
        raise InputError(f"{csv} lists {repeated.iloc[0]} twice")
    table["category"] = table["category"].str.replace("_", " ")
    classes = table[["target", "category"]].drop_duplicates().sort_values("target")
    if classes["target"].duplicated().any() or classes["category"].duplicated().any():
        raise InputError(f"{csv}: target and category must name each other one to one")
    dense = {target: i for i, target in enumerate(classes["target"])}
    return Dataset(
        root=Path(root),
        filenames=tuple(table["filename"]),
        folds=table["fold"].to_numpy(),
        class_ids=table["target"].map(dense).to_numpy(),
        class_names=tuple(classes["category"]),
        recordings=pd.factorize(table["src_file"].fillna(table["filename"]).astype(str))[0],
    )


def digest(dataset: Dataset) -> str:
    """SHA-256 over the index and the bytes of every audio file, as hex. Raises InputError naming missing files."""
    missing = [dataset.filenames[clip] for clip in range(len(dataset.filenames)) if not dataset.path(clip).is_file()]
    raise_problems(dataset.audio, [f"{name}: missing" for name in missing])
    with ThreadPoolExecutor() as pool:
        files = pool.map(
            lambda clip: hashlib.sha256(dataset.path(clip).read_bytes()).hexdigest(),
            range(len(dataset.filenames)),
        )
        rows = zip(dataset.filenames, dataset.folds.tolist(), dataset.class_ids.tolist(), files, strict=True)
        return hashlib.sha256(repr((dataset.class_names, list(rows))).encode()).hexdigest()


def decode(path: Path, sample_rate_hz: int) -> np.ndarray:
    """A clip as mono float32 [T] at `sample_rate_hz`. Raises InputError: missing, unreadable, empty or silent."""
    if not path.is_file():
        raise InputError(f"{path.name}: missing")
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path.name}: unreadable ({error.error_string})") from error
    mono = samples.mean(axis=1)
    if not len(mono):
        raise InputError(f"{path.name}: empty")
    if not np.isfinite(mono).all():
        raise InputError(f"{path.name}: holds NaN or infinite samples")
    if rate_hz != sample_rate_hz:
        mono = torchaudio.functional.resample(torch.from_numpy(mono), rate_hz, sample_rate_hz).numpy()
    if np.abs(mono).max() < SILENCE_PEAK:  # after resampling: what lies above the model's band is not heard
        raise InputError(f"{path.name}: silent at {sample_rate_hz} Hz (peak below {SILENCE_PEAK:g})")
    return mono


def decode_problems(paths: Iterable[Path]) -> dict[Path, str]:
    """One line for each file that cannot be used, in the order of `paths`."""

    def problem(path: Path) -> str | None:
        try:
            decode(path, soundfile.info(path).samplerate if path.is_file() else 1)
        except InputError as error:
            return str(error)
        except soundfile.LibsndfileError as error:
            return f"{path.name}: unreadable ({error.error_string})"
        return None

    files = list(paths)
    with ThreadPoolExecutor() as pool:
        return {path: line for path, line in zip(files, pool.map(problem, files), strict=True) if line}


def raise_problems(folder: Path, problems: Iterable[str]) -> None:
    """Raise one InputError naming every problem with the files of `folder`, or nothing where there is none."""
    lines = list(problems)
    if lines:
        raise InputError(f"{folder}: {len(lines)} unusable file(s): {'; '.join(lines)}")


def fold_problems(dataset: Dataset, fold_sets: dict[str, tuple[int, ...]]) -> list[str]:
    """A single class, folds that do not exist, and classes without clips in a fold set, each as one line."""
    problems = []
    if len(dataset.class_names) < 2:
        problems.append(f"{dataset.root} has one class; pairs need at least two")
    present = sorted(set(dataset.folds.tolist()))
    for name, folds in fold_sets.items():
        absent = [fold for fold in folds if fold not in present]
        if absent:
            problems.append(f"{name} names fold {absent[0]}, which {dataset.root} does not have (it has {present})")
            continue
        counts = np.bincount(dataset.class_ids[dataset.clips_in(folds)], minlength=len(dataset.class_names))
        problems += [
            f"class '{dataset.class_names[c]}' has no clip in {name} {list(folds)}; each class needs one in each set"
            for c in np.flatnonzero(counts == 0)
        ]
    return problems


def check_folds(dataset: Dataset, fold_sets: dict[str, tuple[int, ...]]) -> None:
    """Raise InputError unless every fold exists and holds every class; at least two classes are needed."""
    problems = fold_problems(dataset, fold_sets)
    if problems:
        raise InputError("; ".join(problems))


def download_esc50(out: Path) -> Path:
    """Download ESC-50 (CC BY-NC 3.0) into `out` with a checksum and a progress bar.

    Raises InputError where the network fails or the checksum differs.
    """
    import pooch
    import requests

    if (out / "meta" / "esc50.csv").exists():
        raise InputError(f"{out} already holds a dataset; choose another folder or delete it")
    try:
        archive = pooch.retrieve(ESC50_URL, known_hash=ESC50_ZIP_HASH, fname="esc50.zip", path=out, progressbar=True)
    except (requests.exceptions.RequestException, OSError, ValueError) as error:
        raise InputError(
            f"could not download ESC-50 from {ESC50_URL} ({type(error).__name__}): "
            f"place its meta/ and audio/ folders in {out} by hand"
        ) from error
    unpacked = out / "unpacked"
    shutil.unpack_archive(archive, unpacked)
    (source,) = unpacked.iterdir()
    for folder in ("meta", "audio"):
        shutil.move(source / folder, out / folder)
    shutil.rmtree(unpacked)
    Path(archive).unlink()
    return out
