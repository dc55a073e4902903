from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tclap.config import Timing
from tclap.data.dataset import Dataset
from tclap.data.preview import write_preview
from tclap.errors import InputError

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
    with pytest.raises(InputError, match="is not empty"):
        write_preview(dataset, tmp_path, 1, WINDOW_S, RATE, seed=0)
