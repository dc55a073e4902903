"""Hear the mistakes: the items that a model gets most wrong, as sound with the captions it chose between."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import torch
import torchaudio.functional

from tclap.config import DataSettings
from tclap.data import compose
from tclap.evaluation.embed import embed_suite
from tclap.evaluation.zste import build_suite
from tclap.experiment import Workspace
from tclap.features import audio_features, text_features
from tclap.models.protocol import ContrastiveModel

MOST = 20
MOST_BYTES = 5_000_000  # of all sounds together, as they stand in a page
SOUND_HZ = 24_000  # Opus takes no other rate between 16 and 48 kHz
TASK = "3A"  # forward, reversed or at once


@dataclass(frozen=True)
class Wrong:
    """An item whose best candidate is wrong."""

    item: int  # row among the task's
    right: int  # row of the best right candidate among the captions
    chosen: int  # row of the candidate that won
    cosine_right: float
    cosine_chosen: float


@dataclass(frozen=True)
class Mistake:
    """A wrong item to be heard."""

    right: str
    chosen: str
    cosine_right: float
    cosine_chosen: float
    sound: str  # data URI, Ogg


def most_wrong(
    windows: np.ndarray,
    candidates: np.ndarray,
    right: np.ndarray,
    classes: np.ndarray,
    audio: np.ndarray,
    text: np.ndarray,
    most: int = MOST,
) -> list[Wrong]:
    """The wrong items with the largest margin, the worst first, one for each unordered pair of classes.

    windows [n], candidates and right [n, K], classes [n, 2]: of a task; audio [W, D] and text [Q, D]: embeddings. An
    item is wrong if a wrong candidate's cosine is above that of every right one; a tie is none.
    """
    cosines = np.einsum("nkd,nd->nk", text[candidates], audio[windows])
    best_right = np.where(right, cosines, -np.inf).argmax(axis=1)
    best_wrong = np.where(right, -np.inf, cosines).argmax(axis=1)
    rows = np.arange(len(cosines))
    margin = cosines[rows, best_wrong] - cosines[rows, best_right]
    found: list[Wrong] = []
    pairs: set[tuple[int, ...]] = set()
    for n in np.argsort(-margin, kind="stable"):
        if margin[n] <= 0 or len(found) == most:
            break
        pair = tuple(sorted(classes[n].tolist()))
        if pair not in pairs:
            pairs.add(pair)
            own, other = int(best_right[n]), int(best_wrong[n])
            found.append(
                Wrong(
                    int(n),
                    int(candidates[n, own]),
                    int(candidates[n, other]),
                    float(cosines[n, own]),
                    float(cosines[n, other]),
                )
            )
    return found


def as_data_uri(wave: np.ndarray, sample_rate_hz: int) -> str:
    """A mono window [T] as an Ogg Opus data URI, a few kilobytes a second."""
    sound = torchaudio.functional.resample(torch.from_numpy(np.array(wave)), sample_rate_hz, SOUND_HZ).numpy()
    buffer = io.BytesIO()
    soundfile.write(
        buffer, np.clip(sound / max(1e-9, np.abs(sound).max()) * 0.8, -1, 1), SOUND_HZ, "OPUS", format="OGG"
    )
    return "data:audio/ogg;base64," + base64.b64encode(buffer.getvalue()).decode()


def mistakes(
    wrong: Sequence[Wrong], captions: Sequence[str], sound_of: Callable[[int], str], most_bytes: int = MOST_BYTES
) -> list[Mistake]:
    """`wrong` as they are shown, as many as `most_bytes` hold. sound_of: item -> data URI."""
    found: list[Mistake] = []
    left = most_bytes
    for one in wrong:
        sound = sound_of(one.item)
        left -= len(sound)
        if left < 0:
            break
        found.append(Mistake(captions[one.right], captions[one.chosen], one.cosine_right, one.cosine_chosen, sound))
    return found


def mistakes_of(
    model: ContrastiveModel, workspace: Workspace, data: DataSettings, folds: Sequence[int], most: int = MOST
) -> list[Mistake]:
    """What `model` gets most wrong in task 3A on `folds`, rendered as the model hears it."""
    suite = build_suite(workspace.dataset, folds, data)
    audio = audio_features(model, workspace.dataset, workspace.dataset_digest, suite.composites, workspace.cache)
    text = text_features(model, suite.captions, workspace.cache)
    audio_z, text_z = embed_suite(model, suite, audio, text)
    task = suite.tasks[TASK]
    wrong = most_wrong(task.windows, task.candidates, task.right, task.classes, audio_z, text_z, most)
    if not wrong:
        return []
    rows = suite.composites.rows()[task.windows[[one.item for one in wrong]]]
    heard, index = compose.unique_composites(rows)
    bank = compose.load_events(workspace.dataset, heard, model.window_s, model.sample_rate_hz)
    windows = compose.render(bank, heard, 0, len(heard))
    place = {one.item: int(row) for one, row in zip(wrong, index, strict=True)}
    return mistakes(wrong, suite.captions, lambda item: as_data_uri(windows[place[item]], model.sample_rate_hz))


def mistakes_html(found: Sequence[Mistake], licence: str) -> str:
    """A card for each mistake, and whose sounds these are."""
    cards = "".join(
        f"<div class=mistake><audio controls preload=none src='{one.sound}'></audio>"
        f"<p><span class=right>{html.escape(one.right)}</span> <code>{one.cosine_right:.3f}</code></p>"
        f"<p><span class=wrong>{html.escape(one.chosen)}</span> <code>{one.cosine_chosen:.3f}</code></p></div>"
        for one in found
    )
    return f"<div class=mistakes>{cards}</div><p class=note>{html.escape(licence)}</p>"
