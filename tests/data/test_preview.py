import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tclap.config import Timing
from tclap.data.dataset import Dataset
from tclap.data.preview import write_preview
from tclap.errors import InputError
from tclap.evaluation.suites import read_suite

WINDOW_S, RATE = 2.0, 16_000


@pytest.mark.parametrize("timing", ["drawn", "midpoint"])
def test_says_when_each_window_sounds(dataset: Dataset, tmp_path: Path, timing: Timing) -> None:
    out = tmp_path / "heard"
    table = write_preview(dataset, out, 3, WINDOW_S, RATE, seed=0, timing=timing)
    assert pd.read_csv(out / "captions.csv").equals(table.reset_index(drop=True))
    assert len(table) == 12
    for row in table.itertuples():
        wave, rate = soundfile.read(out / row.file)
        assert (len(wave), rate) == (WINDOW_S * RATE, RATE)
        said = np.zeros(len(wave), bool)
        for span in row.heard.split(" and "):
            start, stop = (float(number) for number in span.removesuffix(" s").split("-"))
            # Shown to 10 ms.
            said[max(round((start - 0.011) * RATE), 0) : round((stop + 0.011) * RATE)] = True
        assert not wave[~said].any(), row.file
        if timing == "midpoint":
            whole = row.file.endswith(("single.wav", "overlay.wav"))
            assert row.heard == ("0.00-2.00 s" if whole else "0.00-1.00 s and 1.00-2.00 s")
    forward, backward = (table[table["file"] == f"00-{kind}.wav"].iloc[0] for kind in ("forward", "reversed"))
    assert forward["heard"] == backward["heard"]
    assert forward["caption"].split(" before ")[::-1] == backward["caption"].split(" before ")


def test_refuses_a_folder_that_holds_something(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is not an empty folder"):
        write_preview(dataset, tmp_path, 1, WINDOW_S, RATE, seed=0)


def test_hears_the_clips_of_the_folds_that_are_asked_for(dataset: Dataset, tmp_path: Path) -> None:
    """As of a dataset that has no other clips."""
    clips = dataset.clips_in((2, 4))
    alone = dataclasses.replace(
        dataset,
        filenames=tuple(dataset.filenames[clip] for clip in clips),
        **{name: getattr(dataset, name)[clips] for name in ("folds", "class_ids", "recordings")},
    )
    asked = write_preview(dataset, tmp_path / "asked", 3, WINDOW_S, RATE, seed=0, folds=(2, 4))
    assert asked.equals(write_preview(alone, tmp_path / "alone", 3, WINDOW_S, RATE, seed=0))
    write_preview(dataset, tmp_path / "every", 3, WINDOW_S, RATE, seed=0)
    heard = {
        name: [(tmp_path / name / file).read_bytes() for file in asked["file"]] for name in ("asked", "alone", "every")
    }
    assert heard["asked"] == heard["alone"] != heard["every"]


@pytest.mark.parametrize("folds", [(9,), (4, 9)])
def test_refuses_a_fold_that_is_not_there(dataset: Dataset, tmp_path: Path, folds: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"folds names fold 9, which .* does not have \(it has \[1, 2, 3, 4, 5\]\)"):
        write_preview(dataset, tmp_path / "out", 1, WINDOW_S, RATE, seed=0, folds=folds)
    assert not (tmp_path / "out").exists()


def test_its_joins_are_order_items_that_can_be_scored(dataset: Dataset, tmp_path: Path) -> None:
    write_preview(dataset, tmp_path, 3, 2.0, 16_000, seed=0)
    suite = read_suite("plain", tmp_path / "items.csv")
    assert len(suite.items) == 6
    said = pd.read_csv(tmp_path / "captions.csv").set_index("file")["caption"]
    for item in suite.items:
        assert item.right == said[item.audio.name]
        first, second = item.right.split(" before ")
        assert item.wrong == (f"{second} before {first}",)
    assert [item.group for item in suite.items] == ["pair 0", "pair 0", "pair 1", "pair 1", "pair 2", "pair 2"]
