import math

import pytest
import torch

from tclap import models
from tclap.data import captions
from tclap.errors import InputError
from tclap.models.mini import MAX_WORDS, UNKNOWN, Mini
from tclap.models.protocol import clamp_logit_scale, padded, text_embeddings, trainable_parameters

NAMES = tuple(f"{adjective} sound {n}" for n, adjective in enumerate(("dull", "bright", "short", "long")))
WORDS = captions.vocabulary(NAMES)
TEXTS = [
    "The sound of dull sound 0",
    "dull sound 0 before bright sound 1",
    "In this concatenated sound, the second sound is short sound 2",
    "long",
]


def wave(n: int, seed: int = 0) -> torch.Tensor:
    return 0.05 * torch.randn(n, 32_000, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> Mini:
    return Mini(WORDS).eval()


def test_has_the_size_that_the_design_states(model: Mini) -> None:
    assert 300_000 <= sum(p.numel() for p in trainable_parameters(model).values()) <= 600_000
    assert "logit_scale" in trainable_parameters(model)


@torch.no_grad()
def test_embeddings_are_normalised(model: Mini) -> None:
    features = model.audio_frozen(wave(3))
    assert not features.requires_grad
    audio, text = model.audio_head(features), text_embeddings(model, TEXTS)
    assert audio.shape == (3, audio.shape[1])
    assert text.shape == (4, audio.shape[1])
    for z in (audio, text):
        torch.testing.assert_close(z.norm(dim=1), torch.ones(len(z)))


@torch.no_grad()
def test_text_does_not_depend_on_its_companions(model: Mini) -> None:
    features = model.text_frozen(TEXTS)
    assert len({len(f) for f in features}) > 1  # so that some are padded
    together = model.text_head(*padded(features, model.padding_value))
    for i, own in enumerate(features):
        alone = model.text_head(*padded([own], model.padding_value))
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=0)
    backwards = model.text_head(*padded(features[::-1], model.padding_value))
    torch.testing.assert_close(backwards, together.flip(0), atol=1e-5, rtol=0)


@torch.no_grad()
def test_audio_does_not_depend_on_its_companions(model: Mini) -> None:
    features = model.audio_frozen(wave(4))
    together = model.audio_head(features)
    torch.testing.assert_close(model.audio_head(features[2:3])[0], together[2], atol=1e-5, rtol=0)


@torch.no_grad()
def test_order_is_seen(model: Mini) -> None:
    """Both towers have positions: an order reversed is another embedding."""
    text = text_embeddings(model, ["dull before long", "long before dull"])
    assert (text[0] - text[1]).abs().max() > 1e-3
    first, second = wave(1), wave(1, seed=1)
    first, second = first[:, :16_000], 0.1 * second[:, :16_000]
    both = torch.cat([torch.cat([first, second], dim=1), torch.cat([second, first], dim=1)])
    audio = model.audio_head(model.audio_frozen(both))
    assert (audio[0] - audio[1]).abs().max() > 1e-3


def test_frozen_audio_is_the_same_in_training_mode() -> None:
    model = Mini(WORDS)
    assert torch.equal(model.train().audio_frozen(wave(2)), model.eval().audio_frozen(wave(2)))


def test_unknown_words_are_one_token(model: Mini) -> None:
    dull, one, other, both = model.text_frozen(["dull", "xylophone", "Zebra!", "xylophone dull zebra"])
    assert one.tolist() == other.tolist() == [UNKNOWN]
    assert both.tolist() == [UNKNOWN, *dull.tolist(), UNKNOWN]
    assert dull.tolist() != [UNKNOWN]


@torch.no_grad()
def test_any_text_gets_an_embedding(model: Mini) -> None:
    texts = ["", "...", "dull " * (MAX_WORDS + 9)]
    features = model.text_frozen(texts)
    assert [len(f) for f in features] == [1, 1, MAX_WORDS]
    assert torch.isfinite(text_embeddings(model, texts)).all()


def test_case_and_punctuation_do_not_matter(model: Mini) -> None:
    shouted, plain = model.text_frozen(["THE SOUND, of: Dull!", "the sound of dull"])
    assert torch.equal(shouted, plain)
    assert UNKNOWN not in plain.tolist()


def test_weights_are_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = Mini(WORDS, init_seed=3).state_dict()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    same, other = Mini(WORDS, init_seed=3).state_dict(), Mini(WORDS, init_seed=4).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["audio_projection.weight"], other["audio_projection.weight"])


def test_fingerprint_is_that_of_the_frozen_halves() -> None:
    assert Mini(WORDS, init_seed=0).fingerprint() == Mini(WORDS, init_seed=1).fingerprint()
    assert Mini(WORDS).fingerprint() != Mini((*WORDS, "more")).fingerprint()


def test_rebuilds_itself(model: Mini) -> None:
    again = models.build(model.rebuild_config())
    assert again.fingerprint() == model.fingerprint()
    shapes = {name: p.shape for name, p in trainable_parameters(model).items()}
    assert {name: p.shape for name, p in trainable_parameters(again).items()} == shapes


def test_unknown_model_is_named() -> None:
    with pytest.raises(InputError, match=r"'maxi'.*mini"):
        models.build({"name": "maxi"})


@torch.no_grad()
def test_logit_scale_is_clamped_from_above() -> None:
    model = Mini(WORDS)
    for given, kept in ((math.log(1 / 0.07), 1 / 0.07), (9.0, 100.0)):
        model.logit_scale.fill_(given)
        clamp_logit_scale(model)
        assert float(model.logit_scale.exp()) == pytest.approx(kept)


def test_texts_are_where_the_model_is() -> None:
    model = Mini(WORDS).to("meta")
    assert {f.device.type for f in model.text_frozen(TEXTS)} == {"meta"}
    assert text_embeddings(model, TEXTS).shape[0] == len(TEXTS)


def test_names_the_words_that_it_cannot_tell_apart(model: Mini) -> None:
    assert model.unknown_words("Dull sound 0 before bright sound 1") == []
    assert model.unknown_words("Dog before cat, before DOG") == ["dog", "cat"]
    assert torch.equal(text_embeddings(model, ["dog before cat"]), text_embeddings(model, ["cat before dog"]))
