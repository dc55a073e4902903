import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tclap.data import audio, layouts, synth
from tclap.data import dataset as datasets
from tclap.data.dataset import Dataset
from tclap.errors import InputError


def test_is_in_esc50_s_layout(root: Path, dataset: Dataset) -> None:
    table = pd.read_csv(root / "meta" / "esc50.csv")
    assert tuple(table.columns) == datasets.COLUMNS
    assert len(dataset.filenames) == 60
    assert sorted(p.name for p in (root / "audio").iterdir()) == sorted(dataset.filenames)
    counts = table.groupby(["category", "fold"]).size()
    assert len(counts) == 30
    assert set(counts) == {2}
    assert "synthetic" in (root / "README.md").read_text()


def test_every_clip_is_usable(dataset: Dataset) -> None:
    assert audio.decode_problems(map(dataset.path, range(60))) == {}
    for clip in range(0, 60, 7):
        info = soundfile.info(dataset.path(clip))
        assert (info.samplerate, info.channels, info.frames) == (16_000, 1, 48_000)
        assert np.abs(audio.decode(dataset.path(clip), 16_000)).max() <= 0.9001


def test_no_two_clips_are_equal(dataset: Dataset) -> None:
    assert len({dataset.path(clip).read_bytes() for clip in range(60)}) == 60


def test_is_seeded(dataset_digest: str, tmp_path: Path) -> None:
    same = synth.write_dataset(tmp_path / "same", classes=6, clips=10, seed=0)
    other = synth.write_dataset(tmp_path / "other", classes=6, clips=10, seed=1)
    assert datasets.digest(layouts.read_index(same)) == dataset_digest
    assert datasets.digest(layouts.read_index(other)) != dataset_digest


def test_a_larger_dataset_holds_a_smaller_one(dataset: Dataset, tmp_path: Path) -> None:
    more = layouts.read_index(synth.write_dataset(tmp_path / "more", classes=7, clips=15, seed=0))
    assert set(dataset.class_names) < set(more.class_names)
    for name in dataset.filenames[::9]:
        assert (more.root / "audio" / name).read_bytes() == (dataset.root / "audio" / name).read_bytes()


def test_fifty_classes_differ() -> None:
    recipes = synth.class_recipes(50)
    assert len({name for name, _, _ in recipes}) == 50
    assert len({(recipe, register) for _, recipe, register in recipes}) == 50
    assert [name for name, _, _ in recipes[:10]] == list(itertools.islice(synth.RECIPES, 10))


@pytest.mark.parametrize("recipe", synth.class_recipes(50), ids=lambda r: r[0])
def test_every_recipe_sounds(recipe: tuple) -> None:
    _, make, register = recipe
    for seed in range(2):
        wave = synth.synthesise(make, register, np.random.default_rng(seed))
        assert wave.shape == (48_000,)
        assert np.isfinite(wave).all()
        assert 0.08 < np.abs(wave).max() <= 0.9001


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 1}, "classes 1 must be between 2 and 50"),
        ({"classes": 51}, "classes 51"),
        ({"clips": 0}, "clips 0 must be a positive multiple of 5"),
        ({"clips": 12}, "clips 12"),
        ({"clips": -5}, "clips -5"),
    ],
)
def test_sizes_are_checked_before_anything_is_written(tmp_path: Path, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        synth.write_dataset(tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="out is not an empty folder"):
        synth.write_dataset(tmp_path / "out", classes=2, clips=5)
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "thesis.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    assert synth.write_dataset(out, classes=2, clips=5) == out
    assert len(layouts.read_index(out).filenames) == 10
    assert [p.name for p in out.parent.iterdir()] == ["out"]  # no scratch left behind


def test_two_first_sweeps_in_one_storage_write_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, begun = synth.write_dataset, []

    def slowly(out: Path) -> Path:
        begun.append(out)
        time.sleep(0.3)
        return write(out, classes=2, clips=5)

    monkeypatch.setattr(synth, "write_dataset", slowly)
    with ThreadPoolExecutor() as pool:
        places = list(pool.map(synth.default_dataset, [tmp_path / "runs"] * 2))
    assert places == [synth.default_place(tmp_path / "runs")] * 2
    assert len(begun) == 1
    assert len(datasets.read_index(places[0]).filenames) == 10
