"""What is exported, the packages themselves load, and it hears and reads as our model does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import ClapFeatureExtractor, ClapModel

from tclap import models
from tclap.errors import InputError
from tclap.models import laion
from tclap.models.export import export
from tclap.models.mini import Mini
from tclap.models.protocol import text_embeddings, trainable_parameters
from tclap.training import checkpoint
from tests.models.small_models import TEXTS
from tests.models.test_towers import EXACT, package_embeddings, wave_of


@pytest.mark.parametrize("name", ["msclap-2022", "msclap-2023", "laion"])
def test_the_package_loads_what_was_post_trained(name: str, weights_of: dict[str, Path], tmp_path: Path) -> None:
    trained = models.load(name, str(weights_of[name]))
    wave = wave_of(trained)
    torch.manual_seed(0)
    with torch.no_grad():
        before = trained.audio_head(trained.audio_frozen(wave))
        for parameter in trainable_parameters(trained).values():
            parameter.add_(0.02 * torch.randn_like(parameter))
    checkpoint.save(tmp_path / "checkpoint", trained, {})
    model = checkpoint.load(tmp_path / "checkpoint")
    line = export(model, tmp_path / "out")
    assert str(tmp_path / "out") in line
    for text_model in (p for p in weights_of[name].iterdir() if p.is_dir()):
        shutil.copytree(text_model, tmp_path / "out" / text_model.name)  # msclap downloads its own tokenizer
    audio, text = package_embeddings(name, tmp_path / "out", wave)
    with torch.no_grad():
        torch.testing.assert_close(model.audio_head(model.audio_frozen(wave)), audio, atol=EXACT, rtol=0)
        torch.testing.assert_close(text_embeddings(model, TEXTS), text, atol=EXACT, rtol=0)
    assert (audio - before).abs().max() > 100 * EXACT  # and not as the base does
    again = models.load(name, str(tmp_path / "out"))  # the folder also serves as our own --weights
    assert torch.equal(text_embeddings(again, TEXTS), text_embeddings(model, TEXTS))


def test_laions_folder_is_whole(weights_of: dict[str, Path], tmp_path: Path) -> None:
    model = models.load("laion", str(weights_of["laion"]))
    with torch.no_grad():
        model.logit_scale.fill_(3.0)
    export(model, tmp_path)
    scales = ClapModel.from_pretrained(tmp_path)
    assert scales.logit_scale_a.item() == scales.logit_scale_t.item() == 3.0
    extractor = ClapFeatureExtractor.from_pretrained(tmp_path)
    assert {name: getattr(extractor, name) for name in laion.FRONT_END} == laion.FRONT_END


def test_a_folder_that_holds_something_is_left_alone(weights_of: dict[str, Path], tmp_path: Path) -> None:
    model = models.load("laion", str(weights_of["laion"]))
    (tmp_path / "mine").write_text("")
    with pytest.raises(InputError, match="is not an empty folder"):
        export(model, tmp_path)
    with pytest.raises(InputError, match="is not an empty folder"):
        export(model, tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_mini_has_no_package(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mini cannot be exported"):
        export(Mini(("a",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
