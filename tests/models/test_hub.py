"""hf: models beside transformers' own output, and LAION's own checkpoint files beside both."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel

from tclap import models
from tclap.config import ModelSettings
from tclap.errors import InputError
from tclap.models import laion
from tclap.models.export import export
from tclap.models.protocol import text_embeddings
from tclap.training import checkpoint
from tests.models.small_models import (
    SMALL_CLAP_AUDIO,
    SMALL_CLAP_TEXT,
    TEXTS,
    byte_level_tokenizer,
    stir_batch_norm,
    windows,
)

EXACT = 1e-5
FUSED = {"plain": False, "fused": True}
WAVE = windows(2, 10.0, 48_000)


@pytest.fixture(scope="module", params=FUSED)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `save_pretrained` of model, feature extractor and tokenizer leave."""
    fused = FUSED[request.param]
    place = tmp_path_factory.mktemp(request.param)
    size = byte_level_tokenizer(place, ("<s>", "<pad>", "</s>", "<unk>", "<mask>"), first=True)
    AutoTokenizer.from_pretrained(place, tokenizer_type="roberta").save_pretrained(place)
    torch.manual_seed(1)
    text = SMALL_CLAP_TEXT | {"vocab_size": size, "hidden_size": 64, "num_attention_heads": 1, "layer_norm_eps": 1e-5}
    audio = SMALL_CLAP_AUDIO | {"enable_fusion": fused, "fusion_type": "aff_2d" if fused else None}
    clap = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24)).eval()
    stir_batch_norm(clap)
    clap.save_pretrained(place)
    ClapFeatureExtractor(**laion.FRONT_END | {"truncation": "fusion" if fused else "rand_trunc"}).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def theirs(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """(audio, text) embeddings by transformers alone, from its own loading to its own tokens."""
    clap = ClapModel.from_pretrained(folder).eval()
    heard = ClapFeatureExtractor.from_pretrained(folder)(list(WAVE.numpy()), sampling_rate=48_000, return_tensors="pt")
    if "is_longer" in heard:
        heard["is_longer"] = torch.zeros_like(torch.as_tensor(heard["is_longer"]))  # none is: the extractor marks one
    read = AutoTokenizer.from_pretrained(folder)(list(TEXTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        audio, text = clap.get_audio_features(**heard), clap.get_text_features(**read)
    return F.normalize(audio, dim=-1), F.normalize(text, dim=-1)


def ours(model: models.ContrastiveModel) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return model.audio_head(model.audio_frozen(WAVE)), text_embeddings(model, TEXTS)


def assert_same(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, atol=EXACT, rtol=0)


def laions_name(name: str) -> str:
    """A tensor of transformers' ClapModel as LAION's own package calls it (laion_clap 1.1.7)."""
    for ours, theirs in (
        ("text_model.", "text_branch."),
        ("audio_model.audio_encoder.", "audio_branch."),
        ("batch_norm.", "bn0."),
        ("_projection.linear1.", "_projection.0."),
        ("_projection.linear2.", "_projection.2."),
    ):
        name = name.replace(ours, theirs)
    if name.startswith("audio_branch.layers"):
        for ours, theirs in (
            ("attention.output.dense", "attn.proj"),
            ("attention.self", "attn"),
            ("intermediate.dense", "mlp.fc1"),
            ("output.dense", "mlp.fc2"),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
        ):
            name = name.replace(ours, theirs)
    return f"module.{name}"


@pytest.fixture(scope="module")
def laions_file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as LAION's training saves them, with its tokenizer's files beside."""
    place = tmp_path_factory.mktemp("laion")
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(folder / file, place)
    state = {laions_name(name): t for name, t in ClapModel.from_pretrained(folder).state_dict().items()}
    for query in [name for name in state if re.search(r"audio_branch.*\.attn\.query\.", name)]:
        parts = [state.pop(query.replace("query", part)) for part in ("query", "key", "value")]
        state[query.replace("query", "qkv")] = torch.cat(parts)
    state["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    state["module.audio_transform.sequential.0.weight"] = torch.ones(2, 2)
    state["module.audio_branch.tscam_conv.bias"] = torch.ones(527)
    kept = {"epoch": 3, "name": "630k", "state_dict": state, "optimizer": {"lr": 1e-4}, "best": np.float64(0.5)}
    torch.save(kept, place / "630k-audioset-best.pt")
    return place / "630k-audioset-best.pt"


def test_a_folder_hears_and_reads_as_transformers_does(folder: Path, theirs: tuple) -> None:
    model = models.load(f"hf:{folder}")
    assert model.name == f"hf:{folder}"
    assert_same(ours(model), theirs)


def test_laions_own_file_is_the_same_model(laions_file: Path, theirs: tuple) -> None:
    assert_same(ours(models.load("laion", str(laions_file))), theirs)


def test_checkpoints_of_both_load_again(folder: Path, laions_file: Path, tmp_path: Path) -> None:
    for n, model in enumerate((models.load(f"hf:{folder}"), models.load("laion", str(laions_file)))):
        with torch.no_grad():
            model.clap.audio_projection.linear1.weight.mul_(1.5)
        checkpoint.save(tmp_path / str(n), model, {})
        assert all(a.equal(b) for a, b in zip(ours(checkpoint.load(tmp_path / str(n))), ours(model), strict=True))


def test_an_export_is_read_by_transformers_and_as_hf(folder: Path, theirs: tuple, tmp_path: Path) -> None:
    model = models.load(f"hf:{folder}")
    assert str(tmp_path / "out") in export(model, tmp_path / "out")
    assert ClapFeatureExtractor.from_pretrained(tmp_path / "out").truncation == model.audio.settings["truncation"]
    assert_same(ours(models.load(f"hf:{tmp_path / 'out'}")), theirs)


def test_laions_file_may_hold_numpy_numbers_and_nothing_else(laions_file: Path, tmp_path: Path) -> None:
    state = torch.load(laions_file, weights_only=False)
    state["best"] = re.compile("a")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InputError, match="nothing was unpickled"):
        models.load("laion", str(tmp_path / "w.pt"))


def test_other_towers_are_one_line(tmp_path: Path) -> None:
    torch.save({"state_dict": {"module.audio_branch.conv1.weight": torch.ones(1)}}, tmp_path / "pann.pt")
    with pytest.raises(InputError, match=r"pann.pt is not LAION's CLAP with HTSAT and RoBERTa: it lacks 'audio_model"):
        models.load("laion", str(tmp_path / "pann.pt"))


def test_a_folder_is_named_by_its_place_and_hashed_by_its_weights(folder: Path, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(folder, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    settings = ModelSettings(name="hf:mine")
    assert settings.name == f"hf:{tmp_path / 'mine'}"
    one = models.identified(settings)
    assert one.identity == models.identified(ModelSettings(name=f"hf:{folder}")).identity
    with (tmp_path / "mine" / "model.safetensors").open("ab") as file:
        file.write(b" ")
    assert models.identified(settings).identity != one.identity
    assert models.identified(ModelSettings(name="hf:laion/larger_clap_general")).identity is None


def test_weights_of_their_own_and_missing_ones_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="hf:a/b names its weights itself: leave --weights w away"):
        models.load("hf:a/b", "w")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"huggingface.co/laion/larger_clap_general/resolve/main/model.safetensors"):
        models.load("hf:laion/larger_clap_general")
    with pytest.raises(InputError, match="has no weights for hf:"):
        models.load(f"hf:{tmp_path}")
