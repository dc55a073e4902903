"""Models and embedders from outside: what is taken, what is refused in one line, what stays frozen."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from tclap import models
from tclap.config import DataSettings, ModelSettings
from tclap.errors import InputError
from tclap.evaluation.embed import zste_scores
from tclap.features import text_features
from tclap.models.conformance import findings
from tclap.models.protocol import ContrastiveModel, text_embeddings, trainable_parameters
from tclap.models.split import FROZEN_TEXTS, FROZEN_WINDOWS
from tclap.training import checkpoint
from tclap.training.base import pretrained_checkpoint
from tests.models.small_models import windows


class Trainable(nn.Module):
    """Mean spectrum and mean letter, with dropout and batch norm in both halves."""

    window_s, sample_rate_hz = 1.0, 8000

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm1d(40), nn.Dropout(0.5)).requires_grad_(False)
        self.audio = nn.Sequential(nn.Linear(40, width), nn.BatchNorm1d(width), nn.Dropout(0.5))
        self.text = nn.Embedding(256, width)

    def audio_frozen(self, wave: torch.Tensor) -> torch.Tensor:
        return self.before(wave.unflatten(1, (40, 200)).abs().mean(2)) + self.before[0].weight.sum() * 0

    def audio_head(self, features: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.audio(features), dim=-1)

    def text_frozen(self, texts: list[str]) -> list[torch.Tensor]:
        return [torch.tensor(list(text.encode())) for text in texts]

    def text_head(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        there = (torch.arange(features.shape[1]) < lengths[:, None])[..., None]
        return nn.functional.normalize((self.text(features) * there).sum(1), dim=-1)


class Sounds:
    """An embedder with an ear of one's choice: [n, T] -> [n, 16]."""

    window_s, sample_rate_hz = 1.0, 8000

    def __init__(self, hear: Callable[[np.ndarray], np.ndarray]) -> None:
        self.hear = hear

    def encode_audio(self, audio: list[np.ndarray], sample_rate_hz: int) -> np.ndarray:
        assert sample_rate_hz == 8000
        return self.hear(np.stack(audio))

    def encode_text(self, texts: list[str]) -> np.ndarray:
        letters = [np.frombuffer(text.encode(), np.uint8).astype(float) for text in texts]
        return np.stack([np.histogram(x * np.arange(1, len(x) + 1), 16)[0] + 0.1 * x[0] for x in letters])


def timed(x: np.ndarray) -> np.ndarray:
    return np.sqrt((x.reshape(len(x), 16, -1) ** 2).mean(2)) + 0.01 * np.abs(x[:, 3:19])


def spectrum(x: np.ndarray) -> np.ndarray:
    """The mean over time of what frames of 25 ms hold."""
    frames = np.abs(np.fft.rfft(x.reshape(len(x), -1, 200)))
    return frames.mean(1)[:, 1:97].reshape(len(x), 16, 6).sum(2)


def centred(x: np.ndarray) -> np.ndarray:
    return timed(x) - timed(x).mean(0) + 1e-3


def nan_now_and_then(x: np.ndarray) -> np.ndarray:
    z = timed(x)
    z[-1] = np.nan
    return z


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module `mine` that can be imported, for factories."""
    module = ModuleType("mine")
    module.__version__ = "1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mine", module)
    return module


def failed(model: ContrastiveModel) -> dict[str, str]:
    return {finding.check: finding.line for finding in findings(model) if not finding.passed}


@pytest.mark.parametrize(
    ("hear", "check", "words"),
    [
        (spectrum, "hears order", r"moves the embedding by \d\.\d% .* it cannot hear which comes first"),
        (centred, "batch", "an input alone and with others in its batch: embeddings differ"),
        (nan_now_and_then, "numbers", "1 of 4 windows and 0 of 4 texts have NaN"),
        (lambda x: np.ones((len(x), 16)), "hears order", "different inputs get the same embedding"),
        (lambda x: timed(x)[:, :3], "shapes", r"gave \[4, 3\], 4 texts gave \[4, 16\]"),
        (lambda x: np.random.default_rng().standard_normal((len(x), 16)), "repeats", "the same input twice"),
    ],
)
def test_an_embedder_is_told_what_it_lacks(mine: ModuleType, hear: Callable, check: str, words: str) -> None:
    mine.build = lambda: Sounds(hear)  # type: ignore[attr-defined]
    found = failed(models.load("mine:build"))
    assert any(re.fullmatch(check, name) and re.search(words, line) for name, line in found.items()), found


def test_an_embedder_that_hears_order_passes(mine: ModuleType) -> None:
    mine.build = lambda: Sounds(timed)  # type: ignore[attr-defined]
    assert failed(models.load("mine:build")) == {}


def test_an_embedder_is_scored_and_its_checkpoint_loads(mine, dataset, dataset_digest, tmp_path) -> None:
    mine.build = lambda: Sounds(timed)
    model = models.load("mine:build")
    scores = zste_scores(model, dataset, dataset_digest, (4,), DataSettings(eval_takes=1), tmp_path)
    assert scores["3A"].n == 30
    checkpoint.save(tmp_path / "c", model, {})
    again = checkpoint.load(tmp_path / "c")
    wave = windows(2, 1.0, 8000)
    assert again.audio_frozen(wave).equal(model.audio_frozen(wave))
    with pytest.raises(InputError, match="mine:build is an embedder: it can be scored, but has nothing to train"):
        pretrained_checkpoint(ModelSettings(name="mine:build"), tmp_path)


def test_gradients_are_tried_in_training_mode_as_a_gru_on_a_gpu_needs(mine: ModuleType) -> None:
    class Recurrent(Trainable):
        def audio_head(self, features: torch.Tensor) -> torch.Tensor:
            assert self.training or not torch.is_grad_enabled()
            return super().audio_head(features)

    mine.build = Recurrent  # type: ignore[attr-defined]
    model = models.load("mine:build")
    assert "trains" not in failed(model)
    assert not model.module().training


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (1e7, r"^audio_frozen gives features up to .*, and they are kept in float16, which ends at 65504"),
        (1e-9, "^features as they come and as they are kept, in float16: embeddings differ"),
    ],
)
def test_features_too_large_or_too_small_for_float16_are_told(mine: ModuleType, scale: float, words: str) -> None:
    class Scaled(Trainable):
        def audio_frozen(self, wave: torch.Tensor) -> torch.Tensor:
            return scale * super().audio_frozen(wave)

        def audio_head(self, features: torch.Tensor) -> torch.Tensor:
            return super().audio_head(features / scale)

    mine.build = Trainable  # type: ignore[attr-defined]
    assert "float16" not in failed(models.load("mine:build"))
    mine.build = Scaled  # type: ignore[attr-defined]
    assert re.search(words, failed(models.load("mine:build"))["float16"])


def test_an_embedder_of_the_wrong_shape_is_one_line(mine: ModuleType) -> None:
    mine.build = lambda: Sounds(lambda x: timed(x).ravel())  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"mine:build: encode_audio of 2 inputs gave shape \(32,\), not \(2, D\)"):
        models.load("mine:build").audio_frozen(windows(2, 1.0, 8000))


def test_frozen_halves_are_calm_in_training_and_batch_norm_keeps_its_statistics(mine: ModuleType) -> None:
    mine.build = Trainable  # type: ignore[attr-defined]
    model = models.load("mine:build")
    wave = windows(3, 1.0, 8000)
    calm = model.audio_frozen(wave)
    model.module().train()
    assert model.audio_frozen(wave).equal(calm)
    assert not model.audio_frozen(wave).requires_grad
    mean = model.own.audio[1].running_mean.clone()
    noisy = model.audio_head(calm)
    assert not noisy.equal(model.audio_head(calm))
    assert model.own.audio[1].running_mean.equal(mean)
    assert "own.before.0.weight" not in trainable_parameters(model)
    assert "logit_scale" in trainable_parameters(model)


def test_frozen_halves_get_no_more_at_once_than_those_of_this_package(mine: ModuleType) -> None:
    """A sweep hands all of its texts over in one call: thousands, which a language model would hold padded."""
    most = {"windows": 0, "texts": 0}

    class Counted(Trainable):
        def audio_frozen(self, wave: torch.Tensor) -> torch.Tensor:
            most["windows"] = max(most["windows"], len(wave))
            return super().audio_frozen(wave)

        def text_frozen(self, texts: list[str]) -> list[torch.Tensor]:
            most["texts"] = max(most["texts"], len(texts))
            return super().text_frozen(texts)

    mine.build = Counted  # type: ignore[attr-defined]
    model = models.load("mine:build")
    wave, texts = windows(20, 1.0, 8000), [f"sound {n}" for n in range(300)]
    assert model.audio_frozen(wave).equal(torch.cat([model.own.audio_frozen(one[None]) for one in wave]))
    assert [bytes(ids.tolist()).decode() for ids in model.text_frozen(texts)] == texts
    assert most == {"windows": FROZEN_WINDOWS["cpu"], "texts": FROZEN_TEXTS}


def test_text_features_in_bfloat16_as_a_language_model_has_them_on_a_gpu_are_kept_and_read(mine, tmp_path) -> None:
    class Hidden(Trainable):
        def __init__(self) -> None:
            super().__init__()
            self.read = nn.Linear(4, 8)

        def text_frozen(self, texts: list[str]) -> list[torch.Tensor]:
            return [torch.ones(len(text), 4, dtype=torch.bfloat16) for text in texts]

        def text_head(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return nn.functional.normalize(self.read(features).mean(1), dim=-1)

    mine.build = Hidden  # type: ignore[attr-defined]
    model = models.load("mine:build")
    kept = text_features(model, ["ab", "c"], tmp_path)
    numbers, lengths = kept.take(np.array([kept.row_of["ab"]]))
    assert model.text_head(numbers.half(), lengths).allclose(text_embeddings(model, ["ab"]), atol=1e-3)


def test_a_checkpoint_holds_what_is_trained_and_refuses_other_frozen_weights(mine: ModuleType, tmp_path) -> None:
    def build(seed: int = 0) -> Trainable:
        torch.manual_seed(seed)
        return Trainable()

    mine.build = build
    model = models.load("mine:build")
    with torch.no_grad():
        model.own.text.weight.mul_(2)
    checkpoint.save(tmp_path / "c", model, {})
    assert text_embeddings(checkpoint.load(tmp_path / "c"), ["ab"]).equal(text_embeddings(model, ["ab"]))
    mine.__version__ = "2"
    with pytest.raises(InputError, match="another base model"):
        checkpoint.load(tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere_at_all:build", "there is no module nowhere_at_all where Python looks"),
        ("mine:buidl", "mine has no buidl; did you mean build?"),
        ("mine:number", "mine:number is no function or class that makes a model, but int"),
        ("mine:nothing", "returns a dict, which lacks window_s, sample_rate_hz, audio_frozen"),
    ],
)
def test_what_is_no_model_is_one_line(mine: ModuleType, name: str, words: str) -> None:
    mine.build, mine.number, mine.nothing = Trainable, 3, lambda: {}  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=words.replace("?", r"\?")) as caught:
        models.load(name)
    assert "\n" not in str(caught.value)


def test_options_reach_the_factory_or_are_refused(mine: ModuleType) -> None:
    given = []
    mine.build = lambda weights=None: given.append(weights) or Trainable()  # type: ignore[attr-defined]
    assert models.load("mine:build", "w.pt").rebuild_config() == {"name": "mine:build", "weights": "w.pt"}
    assert given == ["w.pt"]
    with pytest.raises(InputError, match="--trainable all: mine:build takes no argument of the name trainable"):
        models.load("mine:build", None, "all")


def test_an_entry_point_is_found(mine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    mine.build = Trainable  # type: ignore[attr-defined]
    point = importlib.metadata.EntryPoint("wonderful", "mine:build", "tclap.models")
    real = importlib.metadata.entry_points
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda **select: [point] if select.get("name") == "wonderful" else real(**select),
    )
    assert ModelSettings(name="wonderful").name == "wonderful"
    model = models.load("wonderful")
    assert model.name == "wonderful"
    assert models.build(model.rebuild_config()).fingerprint() == model.fingerprint()
