"""The same clips in every layout are the same dataset: the same pairs, the same items, the same scores."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tclap.config import DataSettings
from tclap.data import dataset as esc50
from tclap.data import layouts
from tclap.data.dataset import Dataset, digest
from tclap.data.layouts import draw_folds, in_name_order, read_dataset, read_index
from tclap.errors import InputError
from tclap.evaluation.zste import build_suite
from tclap.experiment import Workspace, evaluate
from tclap.models.mini import Mini

REAL = Path(__file__).parents[3] / "shared" / "data" / "esc50"  # as the Makefile has it
Convert = Callable[[Dataset, Path], Path]


def link(dataset: Dataset, clip: int, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(dataset.path(clip).resolve(), target)


def table(file: Path, header: list[str], rows: list[list[object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])
    return file


def as_urbansound(data: Dataset, out: Path) -> Path:
    rows: list[list[object]] = []
    for n, name in reversed(list(enumerate(data.filenames))):  # in another order than the csv of ESC-50
        link(data, n, out / "audio" / f"fold{data.folds[n]}" / name)
        label = data.class_names[data.class_ids[n]].replace(" ", "_")
        rows.append([name, data.recordings[n], 0.0, 4.0, 1, data.folds[n], data.class_ids[n], label])
    header = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
    table(out / "metadata" / "UrbanSound8K.csv", header, rows)
    return out


def as_csv(data: Dataset, out: Path) -> Path:
    rows: list[list[object]] = []
    for n, name in enumerate(data.filenames):
        link(data, n, out / "sounds" / name)
        rows.append([f"sounds/{name}", data.class_names[data.class_ids[n]], data.folds[n], f"rec {data.recordings[n]}"])
    return table(out / "clips.csv", ["path", "label", "fold", "recording"], rows[::-1])


def as_captions(data: Dataset, out: Path) -> Path:
    as_csv(data, out)
    rows = [
        [
            f"sounds/{name}",
            f"{data.class_names[data.class_ids[n]].capitalize()}.",
            f"{data.folds[n]}.0",
            data.recordings[n],
        ]
        for n, name in enumerate(data.filenames)
    ]
    return table(out / "clips.csv", ["path", "caption", "fold", "recording"], rows).parent


def as_folders(data: Dataset, out: Path) -> Path:
    for n, name in enumerate(data.filenames):
        link(data, n, out / data.class_names[data.class_ids[n]].replace(" ", "_") / name)
    return out


WITH_FOLDS: dict[str, Convert] = {"UrbanSound8K": as_urbansound, "csv": as_csv, "captions": as_captions}


def assert_same_items(one: Dataset, other: Dataset, folds: list[int]) -> None:
    """Every question of the suite: the clips that are heard, the captions, and which of them are right."""
    assert [Path(name).name for name in other.filenames] == [Path(name).name for name in one.filenames]
    assert other.class_names == one.class_names
    ours, theirs = (build_suite(data, folds, DataSettings(eval_takes=2)) for data in (one, other))
    np.testing.assert_array_equal(ours.composites.rows(), theirs.composites.rows())
    assert ours.captions == theirs.captions
    for name, task in ours.tasks.items():
        np.testing.assert_array_equal(task.windows, theirs.tasks[name].windows)
        np.testing.assert_array_equal(task.candidates, theirs.tasks[name].candidates)
        np.testing.assert_array_equal(task.right, theirs.tasks[name].right)


@pytest.mark.parametrize("layout", WITH_FOLDS)
def test_the_same_clips_are_the_same_dataset(layout: str, root: Path, tmp_path: Path) -> None:
    given = read_index(root)
    other = read_index(WITH_FOLDS[layout](given, tmp_path / "data"))
    np.testing.assert_array_equal(other.folds, given.folds)
    np.testing.assert_array_equal(other.class_ids, given.class_ids)
    np.testing.assert_array_equal(other.recordings, given.recordings)
    assert_same_items(given, other, [4])
    for clip in range(len(given.filenames)):
        assert other.path(clip).resolve() == given.path(clip).resolve()


def test_folders_are_the_same_items_over_all_folds(root: Path, tmp_path: Path) -> None:
    given = read_index(root)
    other, line = read_dataset(as_folders(given, tmp_path / "data"))
    assert_same_items(given, other, [1, 2, 3, 4, 5])
    assert line.endswith("60 clips of 6 classes from 60 recordings, 5 folds drawn by recording with seed 0")


def test_the_same_folds_give_the_same_scores(root: Path, mini: Mini, tmp_path: Path) -> None:
    given = read_index(root)
    data = DataSettings(eval_takes=1)
    datasets = {"ESC-50": given}
    datasets |= {name: read_index(convert(given, tmp_path / name)) for name, convert in WITH_FOLDS.items()}
    scores = {}
    for name, dataset in datasets.items():
        workspace = Workspace(dataset, digest(dataset), tmp_path / f"cache-{name}")
        scores[name] = evaluate(workspace, data, mini, (4,))
    assert all(found == scores["ESC-50"] for found in scores.values())


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not here")
def test_esc50_in_four_layouts(tmp_path: Path) -> None:
    """Statement 3 of "bring your own", on real sound."""
    given = read_index(REAL)
    for layout, convert in WITH_FOLDS.items():
        if layout != "captions":
            other = read_index(convert(given, tmp_path / layout))
            np.testing.assert_array_equal(other.folds, given.folds)
            np.testing.assert_array_equal(other.recordings, given.recordings)
            assert_same_items(given, other, [4])
    assert_same_items(given, read_index(as_folders(given, tmp_path / "folders")), [1, 2, 3, 4, 5])


def test_each_layout_says_itself(root: Path, tmp_path: Path) -> None:
    given = read_index(root)
    lines = {
        "ESC-50's layout": read_dataset(root)[1],
        "UrbanSound8K's layout": read_dataset(as_urbansound(given, tmp_path / "urban"))[1],
        "a csv": read_dataset(as_csv(given, tmp_path / "csv"))[1],
        "a folder for each class": read_dataset(as_folders(given, tmp_path / "folders"))[1],
    }
    for layout, line in lines.items():
        assert f"read as {layout}: 60 clips of 6 classes from 60 recordings, 5 folds" in line


def test_a_csv_is_found_in_its_folder(root: Path, tmp_path: Path) -> None:
    file = as_csv(read_index(root), tmp_path)
    assert read_index(tmp_path).filenames == read_index(file).filenames


def test_captions_are_the_names_of_events(root: Path, tmp_path: Path) -> None:
    for n in range(4):
        shutil.copy(root / "audio" / sorted(os.listdir(root / "audio"))[n], tmp_path / f"{n}.wav")
    rows: list[list[object]] = [[f"{n}.wav", ("A dog barks.", "Rain falls")[n % 2]] for n in range(4)]
    data = read_index(table(tmp_path / "own.csv", ["path", "caption"], rows))
    assert data.class_names == ("a dog barks", "rain falls")
    assert (
        "a dog barks before rain falls"
        in build_suite(data, sorted(set(data.folds.tolist())), DataSettings(eval_takes=1)).captions
    )


@pytest.mark.parametrize("seed", range(5))
def test_drawn_folds_keep_recordings_and_spread_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    class_of = rng.integers(0, 7, 300)  # of each recording
    recordings = np.sort(rng.integers(0, 300, 900))
    class_ids = class_of[recordings]
    folds = draw_folds(class_ids, recordings, 5, seed)
    for recording in np.unique(recordings):
        assert len(set(folds[recordings == recording].tolist())) == 1
    for c in range(7):
        counts = np.bincount(folds[class_ids == c], minlength=6)[1:]
        assert counts.max() - counts.min() <= np.bincount(recordings).max()
    np.testing.assert_array_equal(folds, draw_folds(class_ids, recordings, 5, seed))
    assert (folds != draw_folds(class_ids, recordings, 5, seed + 1)).any()


def test_name_order_changes_no_clip(root: Path) -> None:
    given = esc50.read_index(root)
    ordered = in_name_order(given)
    assert list(ordered.class_names) == sorted(given.class_names)
    facts = {
        (name, given.class_names[c], int(fold))
        for name, c, fold in zip(given.filenames, given.class_ids, given.folds, strict=True)
    }
    assert facts == {
        (name, ordered.class_names[c], int(fold))
        for name, c, fold in zip(ordered.filenames, ordered.class_ids, ordered.folds, strict=True)
    }


def csv_of(*lines: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "x.csv").write_text("\n".join(lines) + "\n") and None


FAULTS = {
    "nothing there": (lambda folder: folder.rmdir(), "not found: a dataset is a folder or a csv"),
    "empty folder": (lambda folder: None, "is in no layout that is known: meta/esc50.csv"),
    "no label": (csv_of("path,fold", "a.wav,1"), "x.csv lacks the columns label"),
    "no file": (csv_of("path,label", ",dog"), "x.csv line 2 names no file"),
    "twice": (csv_of("path,label", "a.wav,dog", "a.wav,cat"), "lists a.wav twice, in lines 2 and 3"),
    "no word": (csv_of("path,label", "a.wav,-"), "x.csv line 2: label '-' holds no word"),
    "alike": (csv_of("path,label", "a.wav,dog", "b.wav,Dog"), "the classes 'dog' and 'Dog' read the same"),
    "a fold is missing": (
        csv_of("path,label,fold", "a.wav,dog,1", "b.wav,cat,"),
        "line 3: fold '' is not a whole number",
    ),
    "no rows": (csv_of("path,label"), "lists no clips"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_in_one_line(fault: str, tmp_path: Path) -> None:
    make, message = FAULTS[fault]
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder)
    with pytest.raises(InputError, match=message) as caught:
        layouts.read_index(folder)
    assert "\n" not in str(caught.value)
