from pathlib import Path

import numpy as np
import pytest
import torch

from tclap.data import compose
from tclap.data.dataset import Dataset
from tclap.errors import InputError
from tclap.evaluation.similarity import similarities
from tclap.models.mini import Mini
from tclap.models.protocol import text_embeddings


def test_is_the_cosine_of_the_window_that_zste_hears(mini: Mini, dataset: Dataset) -> None:
    mini.eval()
    texts = ["tick before hum", "The sound of tick"]
    found = similarities(mini, [str(dataset.path(clip)) for clip in (4, 1)], texts)
    bank = compose.load_events(dataset, [4, 1], mini.window_s, mini.sample_rate_hz)
    windows = compose.unique_composites(compose.single(np.array([1, 4])))[0]
    with torch.no_grad():
        audio = mini.audio_head(mini.audio_frozen(torch.from_numpy(compose.render(bank, windows, 0, 2))))
        text = text_embeddings(mini, texts)
    np.testing.assert_allclose(found.to_numpy(), (audio @ text.T).numpy()[::-1], atol=1e-5)
    assert found.index.tolist() == [str(dataset.path(4)), str(dataset.path(1))]
    assert found.columns.tolist() == texts


def test_wrong_files_and_nothing_are_refused(mini: Mini, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"2 unusable file\(s\): broken.wav: unreadable.*gone.wav: missing"):
        similarities(mini, [str(tmp_path / "broken.wav"), str(tmp_path / "gone.wav")], ["a"])
    with pytest.raises(InputError, match="at least one audio file and one text"):
        similarities(mini, [], ["a"])
    with pytest.raises(InputError, match="at least one audio file and one text"):
        similarities(mini, [str(dataset.path(0))], [])
