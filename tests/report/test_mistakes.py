import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tclap.config import DataSettings
from tclap.data.dataset import Dataset
from tclap.data.synth import is_synthetic
from tclap.evaluation.details import details_of
from tclap.evaluation.embed import embed_suite
from tclap.evaluation.zste import build_suite, suite_credits
from tclap.features import audio_features, text_features
from tclap.models.mini import Mini
from tclap.report.mistakes import Mistake, as_data_uri, heard, licence_note, mistakes_html


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


def test_a_model_that_knows_nothing_is_heard(mini: Mini, dataset: Dataset, dataset_digest: str, tmp_path: Path) -> None:
    suite = build_suite(dataset, (4,), DataSettings(eval_takes=1))
    features = audio_features(mini, dataset, dataset_digest, suite.composites, tmp_path)
    audio, text = embed_suite(mini, suite, features, text_features(mini, suite.captions, tmp_path))
    credit = suite_credits(suite, audio, text)["order"]
    kind = {"window_s": mini.window_s, "sample_rate_hz": mini.sample_rate_hz}
    details = details_of(suite, dataset.class_names, credit, audio, text, **kind)
    found = heard(details, dataset)
    assert 3 <= len(found) <= 15  # pairs of six classes
    for one in found:
        assert one.cosine_chosen > one.cosine_right
        assert one.right != one.chosen
        assert {word for word in one.right.split() if word not in ("before", "while")} <= set(one.chosen.split())
        sound, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(one.sound.partition(",")[2])))
        assert len(sound) / rate_hz == pytest.approx(mini.window_s, abs=0.05)
        assert np.abs(sound).max() > 0.1
    margins = [one.cosine_chosen - one.cosine_right for one in found]
    assert margins == sorted(margins, reverse=True)
    room = len(found[0].sound) + len(found[1].sound)  # sounds stop where the page would grow too big
    cut = heard(details, dataset, most_bytes=room)
    assert [one.right for one in cut] == [one.right for one in found[:2]]
    assert heard(dataclasses.replace(details, wrong=()), dataset) == []


def test_the_licence_is_as_the_folder_tells(dataset: Dataset, tmp_path: Path) -> None:
    assert is_synthetic(dataset.root)
    assert licence_note(dataset) == "Sounds: synthetic, made by tclap."
    other = dataclasses.replace(dataset, root=tmp_path)
    assert "which its folder does not name" in licence_note(other)
    (tmp_path / "LICENSE.txt").write_text("mine")
    assert "see LICENSE.txt in it" in licence_note(other)
    names = ("vacuum cleaner", "can opening", "water drops", "mouse click", *(f"class {n}" for n in range(46)))
    assert "CC BY-NC 3.0" in licence_note(dataclasses.replace(other, class_names=names))


def test_cards_name_captions_cosines_and_the_licence() -> None:
    html = mistakes_html(
        [Mistake("dog < cat", "cat before dog", 0.25, 0.5, "data:audio/ogg;base64,AA")], "CC BY-NC 3.0"
    )
    assert "dog &lt; cat" in html
    assert "<code>0.250</code>" in html
    assert "src='data:audio/ogg;base64,AA'" in html
    assert "CC BY-NC 3.0" in html
