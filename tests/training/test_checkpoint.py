import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tclap.errors import InputError
from tclap.models.mini import Mini
from tclap.models.protocol import text_embeddings, trainable_parameters
from tclap.training import checkpoint

WORDS = ("after", "before", "sound")


def shifted(model: Mini) -> Mini:
    """So that what is loaded is not what a fresh model has."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.linspace(0.1, 0.2, parameter.numel()).view_as(parameter))
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "deep" / "saved", shifted(Mini(WORDS)), {"stage": "B", "step": 3})
    return tmp_path / "deep" / "saved"


def test_round_trip_is_bit_identical(folder: Path) -> None:
    loaded, saved = checkpoint.load(folder), shifted(Mini(WORDS))
    assert not loaded.module().training
    ours, theirs = trainable_parameters(loaded), trainable_parameters(saved)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    texts = ["sound before sound"]
    assert torch.equal(text_embeddings(loaded, texts), text_embeddings(saved.eval(), texts))


def test_holds_the_trainable_tensors_and_where_they_come_from(folder: Path) -> None:
    assert load_file(folder / "model.safetensors").keys() == trainable_parameters(Mini(WORDS)).keys()
    assert checkpoint.read_config(folder)["provenance"] == {"stage": "B", "step": 3}
    assert sorted(p.name for p in folder.parent.iterdir()) == ["saved"]  # no scratch left behind


def test_replaces_an_older_one(folder: Path) -> None:
    checkpoint.save(folder, Mini(WORDS), {})
    assert torch.equal(checkpoint.load(folder).logit_scale, Mini(WORDS).logit_scale)


def test_what_it_held_before_does_not_matter(folder: Path) -> None:
    model = Mini(WORDS, init_seed=9)
    checkpoint.load_into(model, folder)
    assert torch.equal(model.audio_position, shifted(Mini(WORDS)).audio_position)


def change_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return spoil


def change_config(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return spoil


def truncate(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


TENSOR_FAULTS = {
    "missing tensor": (change_tensors(lambda t: t.pop("logit_scale")), "logit_scale missing"),
    "extra tensor": (change_tensors(lambda t: t.update(more=torch.zeros(2))), "more not of this model"),
    "misshapen tensor": (
        change_tensors(lambda t: t.update(audio_position=t["audio_position"][:3].clone())),
        r"audio_position has shape \(3, 128\), not \(26, 128\)",
    ),
    "truncated tensors": (truncate("model.safetensors", 1000), "cannot be read"),
    "a few bytes of tensors": (truncate("model.safetensors", 5), "cannot be read"),
    "empty tensors": (truncate("model.safetensors", 0), "cannot be read"),
    "no tensors": (lambda folder: (folder / "model.safetensors").unlink(), "cannot be read"),
}
CONFIG_FAULTS = {
    "other vocabulary": (change_config(lambda c: c.update(fingerprint="0123")), "0123"),
    "truncated config": (truncate("config.json", 20), "not a tclap checkpoint"),
    "binary config": (
        lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"),
        "not a tclap checkpoint",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "not a tclap checkpoint"),
    "config of something else": (lambda folder: (folder / "config.json").write_text("[1]"), "lacks model"),
    "config without fingerprint": (
        change_config(lambda c: c.pop("fingerprint")),
        "lacks model or fingerprint",
    ),
    "no folder": (shutil.rmtree, "not a tclap checkpoint"),
}
MODEL_FAULTS = {
    "unknown model": (change_config(lambda c: c["model"].update(name="maxi")), "maxi"),
    "model without vocabulary": (change_config(lambda c: c["model"].pop("vocabulary")), "vocabulary"),
    "model with more": (change_config(lambda c: c["model"].update(layers=3)), "layers"),
    "model of another kind": (change_config(lambda c: c.update(model=7)), "model"),
}


@pytest.mark.parametrize("load", [checkpoint.load, lambda folder: checkpoint.load_into(Mini(WORDS), folder)])
@pytest.mark.parametrize(
    ("spoil", "words"), (TENSOR_FAULTS | CONFIG_FAULTS).values(), ids=TENSOR_FAULTS | CONFIG_FAULTS
)
def test_faults_are_one_line_that_names_the_checkpoint(
    folder: Path, load: Callable, spoil: Callable, words: str
) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=words) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("spoil", "words"), MODEL_FAULTS.values(), ids=MODEL_FAULTS)
def test_a_model_that_cannot_be_rebuilt_names_the_checkpoint(folder: Path, spoil: Callable, words: str) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=words) as caught:
        checkpoint.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_vocabulary_is_refused(folder: Path) -> None:
    other = Mini((*WORDS, "more"))
    with pytest.raises(InputError, match=f"another base model.*{other.fingerprint()}"):
        checkpoint.load_into(other, folder)


def test_a_refused_checkpoint_changes_nothing(folder: Path) -> None:
    TENSOR_FAULTS["missing tensor"][0](folder)
    model = Mini(WORDS)
    with pytest.raises(InputError):
        checkpoint.load_into(model, folder)
    fresh = Mini(WORDS).state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in model.state_dict().items())
