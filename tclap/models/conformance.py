"""What any model must do before its scores mean anything; each check is one finding in a plain line.

Shapes: B windows or texts, T samples of a window, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tclap.models.protocol import (
    ContrastiveModel,
    as_kept,
    beyond_float16,
    padded,
    text_embeddings,
    trainable_parameters,
)

TEXTS = (
    "a dog barks before rain falls",
    "rain falls before a dog barks",
    "rain",
    "the sound of a church bell, far away",
)
SAME = 1e-3  # embeddings that should be equal may differ by this much in any number: float32 on a GPU, or bfloat16
UNIT = 1e-2
MOVES = 0.02  # of the distance between unrelated sounds: below, an order is as good as not heard


@dataclass(frozen=True)
class Finding:
    """One check; `line` says what was seen, and if it failed what that means."""

    check: str
    passed: bool
    line: str


def findings(model: ContrastiveModel, again: Callable[[], ContrastiveModel] | None = None) -> Iterator[Finding]:
    """Each check in turn, on the model's device; ends after shapes or numbers that make the others meaningless.

    again: builds the model a second time. An exception of the model's own is not caught: it is the finding.
    """
    model.module().eval()
    wave = probes(model)
    device = model.logit_scale.device

    def hear(windows: np.ndarray) -> Tensor:
        with torch.no_grad():
            return model.audio_head(model.audio_frozen(torch.from_numpy(windows).to(device))).float().cpu()

    def read(texts: list[str]) -> Tensor:
        with torch.no_grad():
            return text_embeddings(model, texts).float().cpu()

    audio, text = hear(wave), read(list(TEXTS))
    shapes = f"{len(wave)} windows gave {list(audio.shape)}, {len(TEXTS)} texts gave {list(text.shape)}"
    fits = audio.ndim == text.ndim == 2 and audio.shape[1] == text.shape[1]
    yield Finding("shapes", fits and len(audio) == len(wave) and len(text) == len(TEXTS), shapes)
    if not (fits and len(audio) == len(wave) and len(text) == len(TEXTS)):
        return
    wrong = int((~audio.isfinite()).any(1).sum()), int((~text.isfinite()).any(1).sum())
    numbers = f"{wrong[0]} of {len(audio)} windows and {wrong[1]} of {len(text)} texts have NaN or infinity"
    yield Finding("numbers", not any(wrong), numbers if any(wrong) else "every embedding is finite")
    if any(wrong):
        return
    norms = torch.cat([audio.norm(dim=1), text.norm(dim=1)])
    yield Finding(
        "norms", bool((norms - 1).abs().max() < UNIT), f"norms {norms.min():.3f} to {norms.max():.3f}; 1 is needed"
    )
    yield _equal("repeats", audio, hear(wave), text, read(list(TEXTS)), "the same input twice")
    if again is not None:
        twin = again()
        twin.module().to(device).eval()
        with torch.no_grad():
            heard = twin.audio_head(twin.audio_frozen(torch.from_numpy(wave).to(device))).float().cpu()
            told = text_embeddings(twin, list(TEXTS)).float().cpu()
        yield _equal("builds", audio, heard, text, told, "the model built twice (are its weights drawn anew?)")
    alone = torch.cat([hear(wave[i : i + 1]) for i in range(len(wave))])
    singly = torch.cat([read([each]) for each in TEXTS])
    yield _equal("batch", audio, alone, text, singly, "an input alone and with others in its batch")
    backwards = hear(np.ascontiguousarray(wave[::-1])).flip(0), read(list(TEXTS[::-1])).flip(0)
    yield _equal("rows", audio, backwards[0], text, backwards[1], "a batch in another order")
    yield _keeps(model, wave, audio)
    yield from _order(audio, text)
    if trainable_parameters(model):
        yield _trains(model, wave)


def probes(model: ContrastiveModel) -> np.ndarray:
    """[4, T] float32 windows: two sounds with silence around each, the same two swapped, and two others.

    All sounds lie in silence, so that a model which only pools over time sees the same frames in both orders.
    """
    n = round(model.window_s * model.sample_rate_hz)
    part, pause = n // 2, n // 10
    rng = np.random.default_rng(0)
    t = np.arange(part - 2 * pause) / model.sample_rate_hz
    fade = np.minimum(1, np.minimum(np.arange(len(t)), np.arange(len(t))[::-1]) / max(1, len(t) // 20))

    def placed(sound: np.ndarray) -> np.ndarray:
        out = np.zeros(part)
        out[pause : pause + len(t)] = fade * sound
        return out

    top = model.sample_rate_hz / 2
    low, high = (placed(0.2 * np.sin(2 * np.pi * f * t)) for f in (min(440, top / 4), min(2500, top / 2)))
    noise = placed(0.1 * rng.standard_normal(len(t)))
    ticks = placed(0.3 * (np.sin(2 * np.pi * 4 * t) > 0.9) * rng.standard_normal(len(t)))
    pairs = [(low, noise), (noise, low), (high, ticks), (low, high)]
    return np.stack([np.pad(np.concatenate(p), (0, n - 2 * part)) for p in pairs]).astype(np.float32)


def _equal(check: str, a: Tensor, other_a: Tensor, t: Tensor, other_t: Tensor, what: str) -> Finding:
    by = max(float((a - other_a).abs().max()), float((t - other_t).abs().max()))
    same = by < SAME
    return Finding(check, same, f"{what}: embeddings {'agree' if same else 'differ'} (by {by:.1g} at most)")


def _keeps(model: ContrastiveModel, wave: np.ndarray, audio: Tensor) -> Finding:
    """Whether the cache, which rounds features to float16, leaves the embeddings `audio` what they are."""
    heard = torch.from_numpy(wave).to(model.logit_scale.device)
    with torch.no_grad():
        features = model.audio_frozen(heard)
        kept = as_kept(features, heard)
        embedded = model.audio_head(torch.from_numpy(kept).to(heard.device)).float().cpu()
    if problem := beyond_float16(features, kept):
        return Finding("float16", False, problem)
    return _equal("float16", audio, embedded, audio, audio, "features as they come and as they are kept, in float16")


def _order(audio: Tensor, text: Tensor) -> Iterator[Finding]:
    """Whether order is there at all: swapped sounds and swapped words must move the embedding."""
    for check, z, swap, verb in (
        ("hears order", audio, "the two sounds of a window", "hear"),
        ("reads order", text, "the two events of a text", "read"),
    ):
        elsewhere = float((z[0] - z[2:]).norm(dim=1).mean())
        share = float((z[0] - z[1]).norm()) / elsewhere if elsewhere > SAME else 0.0
        if elsewhere <= SAME:
            line = f"different inputs get the same embedding: it cannot {verb} anything"
        else:
            line = f"swapping {swap} moves the embedding by {share:.1%} of the distance to another"
            line += "" if share >= MOVES else f": it cannot {verb} which comes first"
        yield Finding(check, share >= MOVES, line)


def _trains(model: ContrastiveModel, wave: np.ndarray) -> Finding:
    """Whether the loss reaches the parameters that are said to be trained."""
    device = model.logit_scale.device
    parameters = trainable_parameters(model)
    model.module().zero_grad()
    heard = model.audio_frozen(torch.from_numpy(wave).to(device))
    told = padded(model.text_frozen(list(TEXTS)), model.padding_value)
    model.module().train()  # as in a stage: cuDNN's recurrent layers have no gradient outside of it
    z = model.logit_scale.exp() * model.audio_head(heard) @ model.text_head(*told).T
    torch.nn.functional.cross_entropy(z, torch.arange(len(z), device=device)).backward()
    model.module().eval()
    reached = [name for name, p in parameters.items() if p.grad is not None]
    finite = all(bool(p.grad.isfinite().all()) for p in parameters.values() if p.grad is not None)
    model.module().zero_grad()
    towers = len(reached) > 1 and finite
    line = f"a gradient reaches {len(reached)} of {len(parameters)} tensors"
    return Finding("trains", towers, line if finite else f"{line}, and it is not finite")
