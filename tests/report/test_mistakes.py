import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tclap.config import DataSettings
from tclap.data.dataset import Dataset
from tclap.experiment import Workspace
from tclap.models.mini import Mini
from tclap.report.mistakes import Mistake, as_data_uri, mistakes, mistakes_html, mistakes_of, most_wrong

TEXT = np.eye(3, dtype=np.float32)  # three captions, each its own direction
CANDIDATES = np.tile([0, 1, 2], (5, 1))
RIGHT = np.tile([True, False, False], (5, 1))


def test_the_worst_margins_come_first_one_for_each_pair_of_classes() -> None:
    audio = np.array([[0, 0.9, 0.1], [0.5, 0.6, 0], [0.2, 0, 0.9], [0.9, 0, 0], [0.4, 0.4, 0]], np.float32)
    classes = np.array([[0, 1], [1, 0], [0, 2], [1, 2], [2, 3]])
    found = most_wrong(np.arange(5), CANDIDATES, RIGHT, classes, audio, TEXT)
    # Item 1 has the pair of item 0 with a smaller margin; 3 is right; 4 is a tie.
    assert [(one.item, one.right, one.chosen) for one in found] == [(0, 0, 1), (2, 0, 2)]
    assert found[0].cosine_chosen == pytest.approx(0.9)
    assert found[1].cosine_right == pytest.approx(0.2)
    assert len(most_wrong(np.arange(5), CANDIDATES, RIGHT, classes, audio, TEXT, most=1)) == 1


def test_a_sound_is_ogg_of_the_same_length() -> None:
    wave = np.sin(np.arange(32000) / 16000 * 440 * 2 * np.pi).astype(np.float32) * 0.05
    uri = as_data_uri(wave, 16000)
    kind, _, data = uri.partition(",")
    assert kind == "data:audio/ogg;base64"
    sound, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert len(sound) / rate_hz == pytest.approx(2.0, abs=0.05)
    spectrum = np.abs(np.fft.rfft(sound))
    assert np.argmax(spectrum) * rate_hz / len(sound) == pytest.approx(440, abs=2)
    assert len(uri) < 60_000


def test_sounds_stop_where_the_page_would_grow_too_big() -> None:
    audio = np.array([[0, 0.9, 0], [0, 0.8, 0], [0, 0.7, 0]], np.float32)
    classes = np.array([[0, 1], [0, 2], [0, 3]])
    found = most_wrong(np.arange(3), CANDIDATES[:3], RIGHT[:3], classes, audio, TEXT)
    heard = mistakes(found, ["a before b", "b before a", "a while b"], lambda item: "x" * 40, most_bytes=100)
    assert [(one.right, one.chosen) for one in heard] == [("a before b", "b before a")] * 2


def test_a_model_that_knows_nothing_is_heard(mini: Mini, dataset: Dataset, dataset_digest: str, tmp_path: Path) -> None:
    workspace = Workspace(dataset, dataset_digest, tmp_path)
    found = mistakes_of(mini, workspace, DataSettings(eval_takes=1), (4,), most=3)
    assert len(found) == 3
    for one in found:
        assert one.cosine_chosen > one.cosine_right
        assert one.right != one.chosen
        assert {word for word in one.right.split() if word not in ("before", "while")} <= set(one.chosen.split())
        sound, _ = soundfile.read(io.BytesIO(base64.b64decode(one.sound.partition(",")[2])))
        assert np.abs(sound).max() > 0.1
    margins = [one.cosine_chosen - one.cosine_right for one in found]
    assert margins == sorted(margins, reverse=True)


def test_cards_name_captions_cosines_and_the_licence() -> None:
    html = mistakes_html(
        [Mistake("dog < cat", "cat before dog", 0.25, 0.5, "data:audio/ogg;base64,AA")], "CC BY-NC 3.0"
    )
    assert "dog &lt; cat" in html
    assert "<code>0.250</code>" in html
    assert "src='data:audio/ogg;base64,AA'" in html
    assert "CC BY-NC 3.0" in html
