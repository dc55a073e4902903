"""Weight files: every problem is one clear line, and nothing is unpickled."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tclap import models
from tclap.config import ModelSettings
from tclap.errors import InputError
from tclap.models import weights
from tclap.models.protocol import text_embeddings, trainable_parameters
from tclap.training import checkpoint
from tclap.training.base import pretrained_checkpoint


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache and no way out, wherever the tests run."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")


def message(name: str, weights_path: str | None) -> str:
    with pytest.raises(InputError) as caught:
        models.load(name, weights_path)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "file", "repo"),
    [
        ("msclap-2022", "CLAP_weights_2022.pth", "microsoft/msclap"),
        ("msclap-2023", "CLAP_weights_2023.pth", "microsoft/msclap"),
        ("laion", "model.safetensors", "laion/clap-htsat-unfused"),
    ],
)
def test_offline_names_file_source_and_place(name: str, file: str, repo: str, tmp_path: Path) -> None:
    text = message(name, None)
    assert f"https://huggingface.co/{repo}/resolve/main/{file}" in text
    assert "--weights FOLDER" in text
    assert file in message(name, str(tmp_path / "nowhere"))
    assert file in message(name, str(tmp_path))  # a folder without it


@pytest.mark.parametrize(("name", "folder"), [("msclap-2022", "bert-base-uncased"), ("msclap-2023", "gpt2")])
def test_missing_tokenizer_is_named_with_its_place(
    name: str, folder: str, weights_of: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(weights_of[name], tmp_path / "w")
    for file in (tmp_path / "w" / folder).iterdir():
        if file.name != "config.json":
            file.unlink()
    text = message(name, str(tmp_path / "w"))
    assert f"the tokenizer {folder}" in text
    assert str(tmp_path / "w" / folder) in text


def test_truncated_files(weights_of: dict[str, Path], tmp_path: Path) -> None:
    for name, file in (("msclap-2023", "CLAP_weights_2023.pth"), ("laion", "model.safetensors")):
        whole = (weights_of[name] / file).read_bytes()
        for part in (0, 100, len(whole) // 2, len(whole) - 10):
            short = tmp_path / file
            short.write_bytes(whole[:part])
            assert "truncated" in message(name, str(short)), (name, part)


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("wrapped", [True, False])
def test_nothing_is_unpickled(wrapped: bool, tmp_path: Path) -> None:
    mark, file = tmp_path / "sprung", tmp_path / "weights.pth"
    if wrapped:
        torch.save({"model": Trap(mark)}, file)
    else:
        file.write_bytes(pickle.dumps(Trap(mark)))
    assert "nothing was unpickled" in message("msclap-2022", str(file))
    assert not mark.exists()


@pytest.mark.parametrize("content", [[1, 2], {"model": {}}, {"a": 1}, torch.zeros(3), {"model": {"a": "b"}}])
def test_no_state_dict(content: object, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(content, file)
    assert "holds no state dict" in message("msclap-2022", str(file))


def test_another_architecture(weights_of: dict[str, Path], tmp_path: Path) -> None:
    text = message("msclap-2022", str(weights_of["msclap-2023"] / "CLAP_weights_2023.pth"))
    assert "not a checkpoint of msclap-2022" in text
    assert "more" in text
    assert "not a checkpoint of laion" in message("laion", str(weights_of["msclap-2023"] / "CLAP_weights_2023.pth"))
    state = weights.read(weights_of["laion"] / "model.safetensors")
    state["audio_projection.linear1.weight"] = torch.zeros(3, 3)
    shutil.copytree(weights_of["laion"], tmp_path / "laion")
    save_file(state, tmp_path / "laion" / "model.safetensors")
    assert "audio_projection.linear1.weight is (3, 3), not" in message("laion", str(tmp_path / "laion"))


def test_old_torch_files_and_extra_or_constant_tensors_do_not_matter(
    weights_of: dict[str, Path], tmp_path: Path
) -> None:
    source = weights_of["msclap-2023"]
    state = weights.read(source / "CLAP_weights_2023.pth")
    state = {n: t for n, t in state.items() if "logmel" not in n and "relative_position_index" not in n}
    state["caption_encoder.base.h.0.attn.masked_bias"] = torch.tensor(-1e4)  # saved by older transformers
    shutil.copytree(source, tmp_path / "w")
    torch.save(state, tmp_path / "w" / "CLAP_weights_2023.pth", _use_new_zipfile_serialization=False)
    model = models.load("msclap-2023", str(tmp_path / "w"))
    assert model.fingerprint() == models.load("msclap-2023", str(source)).fingerprint()


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="known models: mini, msclap-2022"):
        models.build({"name": "clap"})
    with pytest.raises(InputError, match="not a pretrained model"):
        models.load("mini")
    with pytest.raises(InputError, match="known models"):
        models.family("clap")


def test_listing_finds_weights(weights_of: dict[str, Path]) -> None:
    assert models.family("laion").describe("laion", "paper", None).weights is None
    found = models.family("laion").describe("laion", "paper", str(weights_of["laion"]))
    assert found.weights == str(weights_of["laion"] / "model.safetensors")
    assert models.family("mini").describe("mini", "paper", None).audio.trained > 100_000


def test_random_weights_are_seeded_and_say_so() -> None:
    first, same, other = (models.load("laion", "random", seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint() == same.fingerprint() != other.fingerprint()
    assert first.untrained
    assert models.build(first.rebuild_config()).fingerprint() == first.fingerprint()


# Checkpoints


def test_checkpoint_holds_the_trained_tensors_and_loads_with_one_call(
    weights_of: dict[str, Path], tmp_path: Path
) -> None:
    model = models.load("msclap-2023", str(weights_of["msclap-2023"]))
    with torch.no_grad():
        for parameter in trainable_parameters(model).values():
            parameter.mul_(1.5)
    checkpoint.save(tmp_path / "c", model, {})
    from safetensors.torch import load_file

    assert load_file(tmp_path / "c" / checkpoint.TENSORS).keys() == trainable_parameters(model).keys()
    again = checkpoint.load(tmp_path / "c")
    texts = ["dog before cat"]
    assert torch.equal(text_embeddings(again, texts), text_embeddings(model, texts))
    state = again.module().state_dict()
    assert all(torch.equal(t, state[n]) for n, t in model.module().state_dict().items())


def test_full_size_checkpoint_is_72_mb(tmp_path: Path) -> None:
    model = models.load("msclap-2022", "random")
    checkpoint.save(tmp_path / "c", model, {})
    size = sum(file.stat().st_size for file in (tmp_path / "c").iterdir())
    assert 4 * (8_423_951 + 9_515_520 + 1) <= size < 72e6
    assert models.build(checkpoint.read_config(tmp_path / "c")["model"]).fingerprint() == model.fingerprint()  # type: ignore[arg-type]


def test_wrong_base_is_refused(weights_of: dict[str, Path], tmp_path: Path) -> None:
    model = models.load("laion", str(weights_of["laion"]))
    checkpoint.save(tmp_path / "c", model, {})
    state = weights.read(weights_of["laion"] / "model.safetensors")
    state["text_model.embeddings.word_embeddings.weight"] += 1
    shutil.copytree(weights_of["laion"], tmp_path / "other")
    save_file(state, tmp_path / "other" / "model.safetensors")
    with pytest.raises(InputError, match="another base model"):
        checkpoint.load_into(models.load("laion", str(tmp_path / "other")), tmp_path / "c")
    with pytest.raises(InputError, match="another base model"):
        checkpoint.load_into(models.load("laion", str(weights_of["laion"]), "projection"), tmp_path / "c")


def test_pretrained_base_is_a_checkpoint_named_by_its_content(weights_of: dict[str, Path], tmp_path: Path) -> None:
    settings = ModelSettings(name="laion", weights=str(weights_of["laion"]))
    place = pretrained_checkpoint(settings, tmp_path)
    assert pretrained_checkpoint(settings, tmp_path) == place
    assert checkpoint.load(place).name == "laion"
    other = pretrained_checkpoint(settings.model_copy(update={"trainable": "projection"}), tmp_path)
    assert other != place


def test_mini_takes_no_weights() -> None:
    with pytest.raises(ValueError, match="mini takes neither"):
        ModelSettings(weights="random")


def test_what_the_hub_does_not_have_needs_no_network_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's cache keeps that a file is not there."""
    commit, missing = "0" * 40, "preprocessor_config.json"
    repo = tmp_path / "models--someone--clap"
    for file in ("refs/main", f".no_exist/{commit}/{missing}", f"snapshots/{commit}/model.safetensors"):
        (repo / file).parent.mkdir(parents=True)
        (repo / file).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    model = repo / "snapshots" / commit / "model.safetensors"
    assert weights.beside(model, "someone/clap", missing) is None
    with pytest.raises(InputError, match=r"merges\.txt of someone/clap is not here"):
        weights.beside(model, "someone/clap", "merges.txt")
