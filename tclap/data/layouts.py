"""Datasets as people have them: five layouts, told apart by what lies in the folder, and read into one `Dataset`.

| layout | what is there |
|---|---|
| ESC-50 | `meta/esc50.csv` and `audio/` |
| UrbanSound8K | `metadata/UrbanSound8K.csv` and `audio/fold1/` ... |
| csv | a file with `path,label[,fold,recording]` |
| captions | the same with `caption` for `label`: equal captions are one event, said as they are ("a dog barks") |
| folders | a folder of sounds for each class |

What has to be cut or converted first, such as a csv with times, is brought into ESC-50's layout by `imported.py`.

Every layout gives the clips in the order of their file names and the classes in that of theirs, so that the same clips
make the same pairs, whatever they lie in. A csv's paths are relative to it. Folds that are not given are drawn by
recording: no two folds share one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from tclap.data import dataset as esc50
from tclap.data.audio import FOR_FFMPEG, is_utf8
from tclap.data.captions import spoken, words
from tclap.data.dataset import WHOLE, Dataset, on_disk, whole
from tclap.data.table import Row, read_table, require
from tclap.data.timed import scheme
from tclap.errors import InputError

FOLDS = 5
SOUNDS = {
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".aifc",
    ".au",
    ".snd",
    ".caf",
    ".w64",
    ".rf64",
}
SOUNDS |= {".raw", *FOR_FFMPEG}  # which are refused by name, and not left out
URBANSOUND = ("slice_file_name", "fsID", "fold", "class")
LAYOUTS = (
    "meta/esc50.csv with audio/ (ESC-50), metadata/UrbanSound8K.csv with audio/fold1/ ..., "
    "a csv with path,label[,fold,recording], or a folder of sounds for each class"
)


def read_index(root: Path) -> Dataset:
    """The dataset at `root`, a folder or a csv, in whatever layout. Raises InputError as `read_dataset` does."""
    return read_dataset(root)[0]


def read_dataset(root: Path, seed: int = 0) -> tuple[Dataset, str]:
    """The dataset at `root`, and one line that says how it was read; `seed` draws the folds that are not given.

    Raises InputError: no layout fits, or the file that one of them fits is wrong (its line is named).
    """
    root = Path(root)
    layout, read = _layout(root)
    dataset = read(root)
    given = bool(dataset.folds.any())
    if not given:
        dataset = replace(dataset, folds=draw_folds(dataset.class_ids, dataset.recordings, FOLDS, seed))
    dataset = in_name_order(dataset)
    clips, recordings = len(dataset.filenames), len(np.unique(dataset.recordings))
    folds = f"{len(np.unique(dataset.folds))} folds"
    if not given:
        folds += f" drawn by recording with seed {seed}"
    counts = f"{clips} clips of {len(dataset.class_names)} classes from {recordings} recordings, {folds}"
    return dataset, f"{root} read as {layout}: {counts}"


def _layout(root: Path) -> tuple[str, Callable[[Path], Dataset]]:
    if root.suffix.lower() in (".csv", ".tsv") and root.is_file():
        return "a csv", _csv
    if not root.is_dir():
        raise InputError(f"{root} not found: a dataset is a folder or a csv: {LAYOUTS}")
    if (root / "meta" / "esc50.csv").is_file():
        return "ESC-50's layout", esc50.read_index
    if (root / "metadata" / "UrbanSound8K.csv").is_file():
        return "UrbanSound8K's layout", _urbansound
    columns = {file: read_table(file)[0] for file in sorted([*root.glob("*.csv"), *root.glob("*.tsv")])}
    for file in columns:
        _refuse_times(file, columns[file])
    tables = [file for file in columns if "path" in columns[file]]
    if len(tables) > 1:
        raise InputError(
            f"{root} has several csv files with a path column: {', '.join(t.name for t in tables)}; name one"
        )
    if tables:
        return "a csv", lambda folder: _csv(tables[0])
    if "audio" in _class_folders(root):
        raise InputError(f"{root / 'meta' / 'esc50.csv'} not found, and nothing else says what is in {root / 'audio'}")
    if _class_folders(root):
        return "a folder for each class", _folders
    raise InputError(f"{root} is in no layout that is known: {LAYOUTS}")


def _urbansound(root: Path) -> Dataset:
    csv = root / "metadata" / "UrbanSound8K.csv"
    columns, rows = read_table(csv)
    require(csv, columns, URBANSOUND)
    files = [f"fold{row['fold'].strip()}/{row['slice_file_name']}" for row in rows]
    return _build(csv, rows, root, "audio", files, "class", "fsID")


def _csv(csv: Path) -> Dataset:
    columns, rows = read_table(csv)
    _refuse_times(csv, columns)
    label = "caption" if "caption" in columns and "label" not in columns else "label"
    require(csv, columns, ("path", label))
    return _build(csv, rows, csv.parent, ".", [row["path"].strip() for row in rows], label, "recording")


def _refuse_times(table: Path, columns: Sequence[str]) -> None:
    """Raise InputError for a table with times, of which no row is a whole file."""
    if scheme(columns):
        raise InputError(
            f"{table} says when each sound is heard: tclap data import cuts them out, tclap order timed asks"
        )


def _class_folders(root: Path) -> dict[str, list[str]]:
    """Class folder -> names of the sounds in it; folders without sounds are none."""
    found = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        sounds = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SOUNDS)
        if sounds and not is_utf8(folder.name):
            name = os.fsencode(folder.name).decode("ascii", "backslashreplace")
            raise InputError(f"{root}: the folder {name} has a name that is not in UTF-8: rename it")
        if sounds:
            found[folder.name] = sounds
    return found


def _folders(root: Path) -> Dataset:
    files = [(name, f"{name}/{sound}") for name, sounds in _class_folders(root).items() for sound in sounds]
    rows = [Row(0, {"class": name}) for name, _ in files]
    return _build(root, rows, root, ".", [file for _, file in files], "class", None)


def _build(
    source: Path,
    rows: Sequence[Row],
    root: Path,
    audio_folder: str,
    files: Sequence[str],
    label: str,
    recording: str | None,
) -> Dataset:
    """A dataset of the rows of `source`; folds are 0 if it gives none. Raises InputError naming the line."""
    if not rows:
        raise InputError(f"{source} lists no clips")
    seen: dict[str, int] = {}
    for row, file in zip(rows, files, strict=True):
        if not PurePosixPath(file).name:
            raise InputError(f"{source} line {row.line} names no file")
        if file in seen:
            raise InputError(f"{source} lists {file} twice, in lines {seen[file]} and {row.line}")
        seen[file] = row.line
    names = [_name(source, row, label) for row in rows]
    classes = {name: n for n, name in enumerate(dict.fromkeys(names))}
    read: dict[tuple[str, ...], str] = {}
    for name in classes:
        other = read.setdefault(tuple(words(name)), name)
        if other != name:
            raise InputError(f"{source}: the classes {other!r} and {name!r} read the same")
    sources = [row.values.get(recording or "", "").strip() or f"clip {n}" for n, row in enumerate(rows)]
    numbers = {name: n for n, name in enumerate(dict.fromkeys(sources))}
    return Dataset(
        root=root,
        filenames=tuple(on_disk(root / audio_folder, file) for file in files),
        folds=_folds(source, rows),
        class_ids=np.array([classes[name] for name in names]),
        class_names=tuple(classes),
        recordings=np.array([numbers[name] for name in sources]),
        audio_folder=audio_folder,
    )


def _name(source: Path, row: Row, label: str) -> str:
    """A class's name, or a caption as a part of a longer one: without its full stop, and begun with a small letter."""
    text = spoken(row[label]) if label == "caption" else row[label].strip().replace("_", " ")
    if not words(text):
        raise InputError(f"{source} line {row.line}: {label} {row[label]!r} holds no word")
    return text


def _folds(source: Path, rows: Sequence[Row]) -> np.ndarray:
    """[n] the folds of a table that gives every clip one, numbered from 1; zeros if it gives none."""
    given = [row.values.get("fold", "").strip() for row in rows]
    if not any(given):
        return np.zeros(len(rows), np.int64)
    for row, text in zip(rows, given, strict=True):
        if not WHOLE.fullmatch(text) or whole(text) < 1:
            raise InputError(f"{source} line {row.line}: fold {text!r} is not a whole number from 1")
    return np.array([whole(text) for text in given])


def in_name_order(dataset: Dataset) -> Dataset:
    """The same clips by file name (then by folder), classes by name, and recordings numbered as they come."""
    clips = sorted(range(len(dataset.filenames)), key=lambda n: (Path(dataset.filenames[n]).name, dataset.filenames[n]))
    classes = sorted(range(len(dataset.class_names)), key=lambda c: dataset.class_names[c])
    place = np.empty(len(classes), np.int64)
    place[classes] = np.arange(len(classes))
    recordings = dataset.recordings[clips]
    _, first, index = np.unique(recordings, return_index=True, return_inverse=True)
    return replace(
        dataset,
        filenames=tuple(dataset.filenames[n] for n in clips),
        folds=dataset.folds[clips],
        class_ids=place[dataset.class_ids[clips]],
        class_names=tuple(dataset.class_names[c] for c in classes),
        recordings=np.argsort(np.argsort(first))[index],
    )


def draw_folds(class_ids: np.ndarray, recordings: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """[n] a fold in 1..folds for each clip: one for all clips of a recording, the clips of each class spread evenly.

    Recordings come in a seeded order, the longest first; each goes to the fold that has the fewest clips of its
    classes so far, then the fewest clips.
    """
    _, recording = np.unique(recordings, return_inverse=True)
    sizes = np.bincount(recording)
    order = np.random.default_rng([seed, 4]).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    members = np.split(np.argsort(recording, kind="stable"), np.cumsum(sizes)[:-1])
    counts = np.zeros((folds, int(class_ids.max()) + 1), np.int64)
    result = np.empty(len(class_ids), np.int64)
    for number in order:
        own = class_ids[members[number]]
        of_its_classes = counts[:, own].sum(axis=1)
        fold = min(range(folds), key=lambda f: (of_its_classes[f], counts[f].sum(), f))
        np.add.at(counts[fold], own, 1)
        result[members[number]] = fold + 1
    return result
