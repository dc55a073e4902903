"""The real models against their packages: counts, outputs, gradients, what changes in training."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, BertTokenizerFast, ClapFeatureExtractor, ClapModel, GPT2TokenizerFast

from tclap import models
from tclap.config import LossCoefficients, OptimiserSettings
from tclap.data import captions
from tclap.features import TextFeatures, padded_texts
from tclap.models import laion, msclap, split
from tclap.models.conformance import _keeps
from tclap.models.mini import Mini
from tclap.models.protocol import ContrastiveModel, padded, text_embeddings, trainable_parameters
from tclap.models.split import SplitClap
from tclap.training.losses import contrastive_loss, stage_b_weights
from tclap.training.samples import Stage
from tclap.training.stage import StageRun
from tests.models.small_models import TEXTS, windows

Shared = Callable[[str, str], SplitClap]
NAMES = ("msclap-2022", "msclap-2023", "laion")
TRAINABLE = ("paper", "projection", "all")
EXACT = 1e-5


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def wave_of(model: ContrastiveModel, n: int = 2, shorter: bool = False) -> torch.Tensor:
    """[n, T]; `shorter` saves time with Cnn14, which takes any length (HTSAT stretches all to one)."""
    seconds = 1.0 if shorter and model.name == "msclap-2022" else model.window_s
    return windows(n, seconds, model.sample_rate_hz)


# Counts


def test_table_vii() -> None:
    found = models.family("msclap-2022").describe("msclap-2022", "paper", None)
    assert (found.audio.trained, found.audio.total) == (8_423_951, 84_984_847)
    assert (found.text.trained, found.text.total) == (9_515_520, 111_319_296)


@pytest.mark.parametrize(
    ("name", "audio", "text"),
    [("msclap-2023", (16_028_736, 33_162_199), (8_926_464, 126_276_864)), ("laion", None, None)],
)
def test_the_others_are_counted_by_the_same_rule(
    name: str, audio: tuple[int, int] | None, text: tuple[int, int] | None
) -> None:
    paper, projection, everything = (models.family(name).describe(name, trainable, None) for trainable in TRAINABLE)
    for tower in ("audio", "text"):
        counts = [getattr(x, tower) for x in (projection, paper, everything)]
        assert counts[0].trained < counts[1].trained < counts[2].trained <= counts[2].total
    if audio:
        assert (paper.audio.trained, paper.audio.total) == audio
        assert (paper.text.trained, paper.text.total) == text


# Outputs


def package_embeddings(name: str, folder: Path, wave: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(audio, text) embeddings by the package alone, from its own loading of the weights to its own tokens."""
    if name == "laion":
        clap = ClapModel.from_pretrained(folder).eval()
        extractor = ClapFeatureExtractor(**laion.FRONT_END)
        heard = extractor(list(wave.numpy()), sampling_rate=48_000, return_tensors="pt")
        read = AutoTokenizer.from_pretrained(folder)(list(TEXTS), padding=True, return_tensors="pt")
        return clap.get_audio_features(**heard), clap.get_text_features(**read)
    import msclap as package

    text_model = msclap._settings(name)["text_model"]
    config = msclap.text_config(msclap._settings(name), folder)
    tokenizer = (BertTokenizerFast if name == "msclap-2022" else GPT2TokenizerFast).from_pretrained(folder / text_model)
    with pytest.MonkeyPatch.context() as patch:
        # In place of the two downloads, and of the width 768 that the package's settings give the text projection.
        bare = msclap.BertModel if name == "msclap-2022" else msclap.GPT2Model
        patch.setattr("msclap.models.clap.AutoModel", SimpleNamespace(from_pretrained=lambda _: bare(config)))
        patch.setattr("msclap.CLAPWrapper.AutoTokenizer", SimpleNamespace(from_pretrained=lambda _: tokenizer))
        read = package.CLAP.read_config_as_args
        patch.setattr(package.CLAP, "read_config_as_args", lambda *a, **k: _narrow(read(*a, **k), config.hidden_size))
        wrapper = package.CLAP(model_fp=folder / msclap.files(name)[0], version=name[-4:])
        audio = wrapper._get_audio_embeddings(wave.unsqueeze(1))
        text = wrapper.get_text_embeddings(list(TEXTS))
    return F.normalize(audio, dim=-1), F.normalize(text, dim=-1)


def _narrow(args: SimpleNamespace, width: int) -> SimpleNamespace:
    args.transformer_embed_dim = width
    return args


@pytest.fixture(scope="module")
def packages_own(weights_of: dict[str, Path], shared: Shared) -> Callable[[str], tuple[torch.Tensor, torch.Tensor]]:
    return cache(lambda name: package_embeddings(name, weights_of[name], wave_of(shared(name, "paper"))))


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_head_of_frozen_is_the_packages_own_output(
    name: str, trainable: str, shared: Shared, packages_own: Callable[[str], tuple[torch.Tensor, torch.Tensor]]
) -> None:
    model = shared(name, trainable)
    wave = wave_of(model)
    audio, text = packages_own(name)
    with torch.no_grad():
        own_audio = model.audio_head(model.audio_frozen(wave))
        own_text = text_embeddings(model, TEXTS)
        one_by_one = torch.cat([text_embeddings(model, [t]) for t in TEXTS])
    torch.testing.assert_close(own_audio, audio, atol=EXACT, rtol=0)
    torch.testing.assert_close(own_text, text, atol=EXACT, rtol=0)
    torch.testing.assert_close(one_by_one, text, atol=EXACT, rtol=0)


def test_features_are_unpadded_and_survive_float16_at_this_cost(name: str, shared: Shared) -> None:
    model = shared(name, "paper")
    features = model.text_frozen(TEXTS)
    assert len({len(f) for f in features}) > 1
    with torch.no_grad():
        exact = model.text_head(*padded(features, 0))
        rounded = model.text_head(*padded([f.half() for f in features], 0))
    assert (exact - rounded).abs().max() < 1e-3


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_its_embeddings_are_the_same_from_features_as_they_are_kept(name: str, trainable: str, shared: Shared) -> None:
    model = shared(name, trainable)
    wave = wave_of(model, shorter=True)
    with torch.no_grad():
        exact = model.audio_head(model.audio_frozen(wave))
    found = _keeps(model, wave.numpy(), exact)
    assert found.passed, found.line


@pytest.mark.parametrize("name", ["msclap-2022", "msclap-2023"])
def test_msclaps_fourier_transform_is_no_tf32_convolution(
    name: str, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The switch alone is seen here: off there, on again for all other convolutions."""
    model = shared(name, "paper")
    base = next(part for part in model.modules() if hasattr(part, "spectrogram_extractor"))
    allowed = []

    def asked(module: torch.nn.Module, given: object) -> None:
        allowed.append((type(module).__name__, torch.backends.cudnn.allow_tf32))

    hooks = [base.spectrogram_extractor.register_forward_pre_hook(asked), base.bn0.register_forward_pre_hook(asked)]
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    model.audio_frozen(wave_of(model, 1, shorter=True))
    for hook in hooks:
        hook.remove()
    assert allowed == [("Spectrogram", False), ("BatchNorm2d", True)]


def test_laions_log_mel_is_the_extractors(shared: Shared) -> None:
    model = shared("laion", "paper")
    wave = wave_of(model)
    extractor = ClapFeatureExtractor(**laion.FRONT_END)
    theirs = extractor(list(wave.numpy()), sampling_rate=48_000, return_tensors="pt")["input_features"]
    torch.testing.assert_close(model.audio.log_mel(wave), theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "tokens"), [("msclap-2022", 100), ("msclap-2023", 77), ("laion", 512)])
def test_a_long_text_is_cut_at_the_models_limit(name: str, tokens: int, shared: Shared) -> None:
    assert [len(f) for f in shared(name, "paper").text_frozen(["dog cat " * 200])] == [tokens]


# Gradients and training


def batch(model: ContrastiveModel) -> tuple[torch.Tensor, list[str], torch.Tensor]:
    captions = [
        "dog before cat",
        "rain before dog",
        "cat before dog",
        "dog before rain",
        "dog while cat",
        "dog while rain",
    ]
    return wave_of(model, 6, shorter=True), captions, stage_b_weights(2, LossCoefficients(alpha_ct=0.5))


def loss_of(model: ContrastiveModel, audio: torch.Tensor, text: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return contrastive_loss(audio.reshape(3, 2, -1), text.reshape(3, 2, -1), model.logit_scale.exp(), weights, beta=1.0)


@pytest.mark.parametrize("trainable", ["paper", "projection"])
def test_cached_and_raw_steps_have_the_same_loss_and_gradients(
    name: str, trainable: str, shared: Shared, tmp_path: Path
) -> None:
    model = shared(name, trainable)
    wave, captions, weights = batch(model)
    parameters = trainable_parameters(model)
    np.save(tmp_path / "audio.npy", model.audio_frozen(wave).numpy())
    text = [torch.from_numpy(f.numpy().copy()) for f in model.text_frozen(captions)]
    heard = model.audio_head(torch.from_numpy(np.load(tmp_path / "audio.npy")))
    cached = loss_of(model, heard, model.text_head(*padded(text, model.padding_value)), weights)
    cached.backward()
    gradients = {n: p.grad.clone() for n, p in parameters.items() if p.grad is not None}
    model.module().zero_grad()
    # The raw way goes through the package's own forward pass, with its gradient switched on from the audio.
    clap, ids = model.clap, [model.tokeniser.encode(c) for c in captions]
    filled = torch.full((6, max(map(len, ids))), model.tokeniser.pad_id)
    mask = torch.zeros_like(filled)
    for row, i in enumerate(ids):
        filled[row, : len(i)], mask[row, : len(i)] = torch.tensor(i), 1
    if name == "laion":
        audio = clap.get_audio_features(input_features=model.audio.log_mel(wave))
        embedded = clap.get_text_features(input_ids=filled, attention_mask=mask)
    else:
        audio = clap.audio_encoder(wave)[0]
        embedded = clap.caption_encoder({"input_ids": filled, "attention_mask": mask})
    raw = loss_of(model, F.normalize(audio, dim=-1), F.normalize(embedded, dim=-1), weights)
    raw.backward()
    torch.testing.assert_close(cached, raw, atol=EXACT, rtol=EXACT)
    assert gradients.keys() == {n for n, p in parameters.items() if p.grad is not None}
    for n, gradient in gradients.items():
        torch.testing.assert_close(gradient, parameters[n].grad, atol=EXACT, rtol=EXACT, msg=n)
    model.zero_grad()


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_texts_from_one_padded_tensor_are_those_of_a_list_to_the_last_bit(
    name: str, trainable: str, shared: Shared
) -> None:
    """Training once padded the texts of each batch by themselves; taken from one tensor, nothing may change."""
    assert_same_bits(shared(name, trainable))


def test_minis_texts_too() -> None:
    assert_same_bits(Mini(captions.vocabulary(("dog", "cat", "rain"))))


def assert_same_bits(model: ContrastiveModel) -> None:
    texts = [*TEXTS, "dog before cat while rain after dog, and the sound of a cat", "dog"]
    frozen = model.text_frozen(texts)
    kept = padded_texts(texts, frozen, model.padding_value)
    for batch in ([5, 3], [0, 1, 3], [4, 0]):
        own = [frozen[row] for row in batch]
        alone = torch.nn.utils.rnn.pad_sequence(own, batch_first=True, padding_value=model.padding_value)
        results = []
        for features, lengths in ((alone, torch.tensor([len(f) for f in own])), kept.take(np.array(batch))):
            model.module().zero_grad()
            embedded = model.text_head(features, lengths)
            (embedded * torch.linspace(-1, 1, embedded.numel()).view_as(embedded)).sum().backward()
            gradients = [p.grad.clone() for p in trainable_parameters(model).values() if p.grad is not None]
            results.append([embedded.detach(), *gradients])
        assert len(results[0]) > 1
        assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    model.module().zero_grad()


def stage_of(model: ContrastiveModel, steps: int) -> tuple[Stage, np.ndarray, TextFeatures]:
    wave, captions, weights = batch(model)
    audio = model.audio_frozen(wave).numpy()
    text = padded_texts(captions, model.text_frozen(captions), model.padding_value)
    rows = np.broadcast_to(np.arange(6).reshape(3, 2).T, (steps, 2, 3))
    return Stage("B", rows, np.array(captions, dtype=object)[rows], lambda _: weights, 1.0), audio, text


WITHOUT_GRADIENT = ("fc_audioset", "pooler", "tscam_conv", "htsat.head")


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_only_what_is_trained_changes(name: str, trainable: str, weights_of: dict[str, Path]) -> None:
    model = models.load(name, str(weights_of[name]), trainable)
    before = {n: t.clone() for n, t in model.module().state_dict().items()}
    parameters = trainable_parameters(model)
    run = StageRun(model, *stage_of(model, 2), OptimiserSettings(steps=2, lr=1e-3), seed=0)
    while not run.finished:
        run.step()
    after = model.module().state_dict()
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    scales = {n for n in before if n.endswith("logit_scale_a") or n.endswith("clap.logit_scale")}  # by its other name
    assert changed - scales <= parameters.keys()
    still = parameters.keys() - changed
    unused = WITHOUT_GRADIENT if name != "laion" else ()
    assert all(any(part in n for part in unused) for n in still), sorted(still)
    assert not any("running_" in n or "num_batches" in n for n in changed)


def test_named_parameters_of_the_paper(shared: Shared) -> None:
    def parts(name: str) -> set[str]:
        model = shared(name, "paper")
        return {n.rsplit(".", 1)[0].removeprefix("clap.") for n in trainable_parameters(model)}

    def under(name: str, *prefixes: str) -> bool:
        return all(p.startswith(prefixes) or p == "logit_scale" for p in parts(name))

    assert under(
        "msclap-2022",
        "audio_encoder.base.fc1",
        "audio_encoder.base.fc_audioset",
        "audio_encoder.projection",
        "caption_encoder.base.encoder.layer.2",
        "caption_encoder.base.pooler",
        "caption_encoder.projection",
    )
    assert under(
        "msclap-2023",
        "audio_encoder.base.htsat.layers.3",
        "audio_encoder.base.htsat.norm",
        "audio_encoder.projection",
        "caption_encoder.base.h.2",
        "caption_encoder.base.ln_f",
        "caption_encoder.projection",
    )


def test_a_whole_tower_is_scored_with_few_windows_at_once(
    name: str, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scoring hands over 512 of them, which a tower without a gradient to keep may hear in parts."""
    model = shared(name, "all")
    wave = wave_of(model, shorter=True)
    heard: list[int] = []
    lower = model.audio.lower

    def counted(part: torch.Tensor) -> torch.Tensor:
        heard.append(len(part))
        return lower(part)

    with torch.no_grad():
        whole = model.audio_head(wave)
        monkeypatch.setattr(model.audio, "lower", counted)
        monkeypatch.setitem(split.FROZEN_WINDOWS, "cpu", 1)
        torch.testing.assert_close(model.audio_head(wave), whole, atol=EXACT, rtol=0)
        model.module().train()  # a step with --chunk, whose second pass must draw the same dropout
        model.audio_head(wave)
        model.module().eval()
    assert heard == [1] * len(wave) + [len(wave)]


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_train_mode_drops_out_in_the_trained_half_alone(name: str, trainable: str, shared: Shared) -> None:
    model = shared(name, trainable)
    wave = wave_of(model, shorter=True)
    with torch.no_grad():
        audio, text = model.audio_frozen(wave), model.text_frozen(TEXTS)
        calm = model.audio_head(audio), model.text_head(*padded(text, model.padding_value))
        model.module().train()
        assert torch.equal(model.audio_frozen(wave), audio)
        assert all(torch.equal(a, b) for a, b in zip(model.text_frozen(TEXTS), text, strict=True))
        noisy = model.audio_head(audio), model.text_head(*padded(text, model.padding_value))
        assert name == "laion" or not torch.allclose(calm[0], noisy[0])  # LAION's projections have no dropout
        assert (name == "laion" and trainable == "projection") or not torch.allclose(calm[1], noisy[1])
        model.module().eval()
        assert torch.equal(model.audio_head(audio), calm[0])
