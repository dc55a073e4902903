"""Datasets in ESC-50's layout, `meta/esc50.csv` and `audio/`: the index, the folds, the digest."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tclap.data.audio import raise_problems, unreadable
from tclap.data.captions import words
from tclap.data.table import Row, read_table, require
from tclap.errors import InputError

COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")  # what we write; ESC-50's own
NEEDED = ("filename", "fold", "target", "category")
WHOLE = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?")


@dataclass(frozen=True)
class Dataset:
    """An indexed dataset of n clips; no audio has been read."""

    root: Path
    filenames: tuple[str, ...]  # as they are on disk, which may write "é" in another way than the csv does
    folds: np.ndarray  # [n] int
    class_ids: np.ndarray  # [n] int, 0..C-1 in the order of the csv's `target`
    class_names: tuple[str, ...]  # [C] with spaces instead of underscores
    recordings: np.ndarray  # [n] int, which recording each clip was cut from
    audio_folder: str = "audio"  # below root; the filenames are relative to it

    @property
    def audio(self) -> Path:
        return self.root / self.audio_folder

    def path(self, clip: int) -> Path:
        return self.audio / self.filenames[clip]

    def clips_in(self, folds: Iterable[int]) -> np.ndarray:
        """Indices of the clips of `folds`, ascending."""
        return np.flatnonzero(np.isin(self.folds, list(folds)))


def read_index(root: Path) -> Dataset:
    """Read `root/meta/esc50.csv`.

    Raises InputError naming the file, and the line if it is in one: it is missing, or has wrong columns or values,
    repeated filenames, or classes that are not told apart.
    """
    csv = Path(root) / "meta" / "esc50.csv"
    if not _exists(csv):
        raise InputError(f"{csv} not found: a dataset is a folder with meta/esc50.csv and audio/ (ESC-50's layout)")
    columns, rows = read_table(csv)
    require(csv, columns, NEEDED)
    if not rows:
        raise InputError(f"{csv} lists no clips")
    folds = np.array([_whole(csv, row, "fold") for row in rows])
    targets = [_whole(csv, row, "target") for row in rows]
    class_of = _classes(csv, rows, targets)
    dense = {target: n for n, target in enumerate(sorted(class_of))}
    return Dataset(
        root=Path(root),
        filenames=_filenames(csv, rows, Path(root) / "audio"),
        folds=folds,
        class_ids=np.array([dense[target] for target in targets]),
        class_names=tuple(class_of[target] for target in dense),
        recordings=_recordings(rows),
    )


def _exists(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


def whole(text: str) -> int:
    """What matches WHOLE as a number: 1 or 1.0, as pandas writes a column of which a value was missing."""
    return int(text.partition(".")[0])


def _whole(csv: Path, row: Row, column: str) -> int:
    text = row[column].strip()
    if not WHOLE.fullmatch(text):
        raise InputError(f"{csv} line {row.line}: {column} {text!r} is not a whole number")
    return whole(text)


def _classes(csv: Path, rows: Sequence[Row], targets: Sequence[int]) -> dict[int, str]:
    """target -> class name. Raises InputError unless each has one of the other, and no two names read alike."""
    name_of: dict[int, tuple[str, int]] = {}  # with the line where it was first seen
    target_of: dict[tuple[str, ...], tuple[int, str, int]] = {}  # by the words of the name: all that mini reads
    for row, target in zip(rows, targets, strict=True):
        name = unicodedata.normalize("NFC", row["category"].strip().replace("_", " "))
        if not words(name):
            raise InputError(f"{csv} line {row.line}: category {row['category']!r} holds no word")
        before, line = name_of.setdefault(target, (name, row.line))
        if before != name:
            raise InputError(f"{csv} line {row.line}: target {target} is {name!r} here and {before!r} in line {line}")
        other, theirs, line = target_of.setdefault(tuple(words(name)), (target, name, row.line))
        if other != target:
            alike = "" if theirs == name else f" (line {line} writes {theirs!r}, which reads the same)"
            raise InputError(
                f"{csv} line {row.line}: {name!r} has target {target} here and {other} in line {line}{alike}; "
                "a class has one name and one target"
            )
    return {target: name for target, (name, _) in name_of.items()}


def _filenames(csv: Path, rows: Sequence[Row], audio: Path) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    for row in rows:
        name = unicodedata.normalize("NFC", row["filename"])
        if not name.strip():
            raise InputError(f"{csv} line {row.line} has an empty filename")
        if name in seen:
            raise InputError(f"{csv} lists {name} twice, in lines {seen[name]} and {row.line}")
        seen[name] = row.line
    return tuple(on_disk(audio, row["filename"]) for row in rows)


def on_disk(folder: Path, name: str) -> str:
    """How the file `name` is written in `folder`: "é" is one character in some file systems, and two in others."""
    if not name.isascii():
        for form in ("NFC", "NFD"):
            other = unicodedata.normalize(form, name)
            if os.path.exists(folder / other):  # Path.exists raises for a name that is too long
                return name if os.path.exists(folder / name) else other
    return name


def _recordings(rows: Sequence[Row]) -> np.ndarray:
    """[n] one number for each distinct `src_file`; a clip without one is a recording of its own."""
    names = [row.values.get("src_file", "").strip() or f"line {row.line}" for row in rows]
    numbers = {name: n for n, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])


def shared_recordings(dataset: Dataset, fold_sets: Iterable[Iterable[int]]) -> int:
    """How many recordings have clips in more than one of the fold sets: what is tested was heard in training."""
    held = [np.unique(dataset.recordings[dataset.clips_in(folds)]) for folds in fold_sets]
    _, counts = np.unique(np.concatenate([np.zeros(0, np.int64), *held]), return_counts=True)
    return int((counts > 1).sum())


def shared_recordings_note(dataset: Dataset, fold_sets: Mapping[str, tuple[int, ...]]) -> str | None:
    """One line on the recordings that cross `fold_sets`, or None if there are none."""
    shared = shared_recordings(dataset, fold_sets.values())
    if not shared:
        return None
    return (
        f"{shared} of {len(np.unique(dataset.recordings))} recordings (src_file) have clips in more than one of "
        f"{', '.join(fold_sets)}: what is scored was partly heard in training (--allow-shared-recordings says no more)"
    )


def digest(dataset: Dataset) -> str:
    """SHA-256 over the index and the bytes of every audio file, as hex. Raises InputError naming what is unreadable."""

    def hashed(clip: int) -> tuple[str, str]:
        """The hash of a file, or else what is wrong with it."""
        problem = unreadable(dataset.path(clip))
        if problem:
            return "", f"{dataset.filenames[clip]}: {problem}"
        return hashlib.sha256(dataset.path(clip).read_bytes()).hexdigest(), ""

    with ThreadPoolExecutor() as pool:
        files, problems = zip(*pool.map(hashed, range(len(dataset.filenames))), strict=True)
    raise_problems(dataset.audio, [problem for problem in problems if problem])
    names = [unicodedata.normalize("NFC", name) for name in dataset.filenames]
    rows = zip(names, dataset.folds.tolist(), dataset.class_ids.tolist(), files, strict=True)
    return hashlib.sha256(repr((dataset.class_names, list(rows))).encode()).hexdigest()


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
