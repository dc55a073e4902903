"""Hear the mistakes: the items that a model gets most wrong, as sound with the captions it chose between."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import torch
import torchaudio.functional

from tclap.data import compose
from tclap.data.dataset import Dataset
from tclap.data.synth import is_synthetic
from tclap.evaluation.details import Details

MOST_BYTES = 5_000_000  # of all sounds together, as they stand in a page
SOUND_HZ = 24_000  # Opus takes no other rate between 16 and 48 kHz
ESC50_ALONE = {"vacuum cleaner", "can opening", "water drops", "mouse click"}  # classes that tell ESC-50 from others


@dataclass(frozen=True)
class Mistake:
    """A wrong item to be heard."""

    right: str
    chosen: str
    cosine_right: float
    cosine_chosen: float
    sound: str  # data URI, Ogg


def as_data_uri(wave: np.ndarray, sample_rate_hz: int) -> str:
    """A mono window [T] as an Ogg Opus data URI, a few kilobytes a second."""
    sound = torchaudio.functional.resample(torch.from_numpy(np.array(wave)), sample_rate_hz, SOUND_HZ).numpy()
    buffer = io.BytesIO()
    soundfile.write(
        buffer, np.clip(sound / max(1e-9, np.abs(sound).max()) * 0.8, -1, 1), SOUND_HZ, "OPUS", format="OGG"
    )
    return "data:audio/ogg;base64," + base64.b64encode(buffer.getvalue()).decode()


def heard(details: Details, dataset: Dataset, most_bytes: int = MOST_BYTES) -> list[Mistake]:
    """The wrong items of `details`, rendered as the model hears them, as many as `most_bytes` hold.

    dataset: the one that the details are of. Raises InputError if its clips cannot be read.
    """
    if not details.wrong:
        return []
    rows = np.array([one.window for one in details.wrong])
    distinct, index = compose.unique_composites(rows)
    bank = compose.load_events(dataset, distinct, details.window_s, details.sample_rate_hz)
    windows = compose.render(bank, distinct, 0, len(distinct))
    found: list[Mistake] = []
    left = most_bytes
    for one, window in zip(details.wrong, index, strict=True):
        sound = as_data_uri(windows[window], details.sample_rate_hz)
        left -= len(sound)
        if left < 0:
            break
        found.append(Mistake(one.right, one.chosen, one.cosine_right, one.cosine_chosen, sound))
    return found


def mistakes_html(found: Sequence[Mistake], licence: str) -> str:
    """A card for each mistake, and whose sounds these are."""
    cards = "".join(
        f"<div class=mistake><audio controls preload=none src='{one.sound}'></audio>"
        f"<p><span class=right>{html.escape(one.right)}</span> <code>{one.cosine_right:.3f}</code></p>"
        f"<p><span class=wrong>{html.escape(one.chosen)}</span> <code>{one.cosine_chosen:.3f}</code></p></div>"
        for one in found
    )
    return f"<div class=mistakes>{cards}</div><p class=note>{html.escape(licence)}</p>"


def licence_note(dataset: Dataset) -> str:
    """Under which licence the sounds may be passed on, as far as their folder tells."""
    names = set(dataset.class_names)
    if len(names) == 50 and names >= ESC50_ALONE:
        return "Sounds: ESC-50 (K. J. Piczak, 2015), CC BY-NC 3.0, those of its ESC-10 subset CC BY."
    if is_synthetic(dataset.root):
        return "Sounds: synthetic, made by tclap."
    found = sorted(file.name for file in dataset.root.glob("[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]*"))
    said = f"see {', '.join(found)} in it" if found else "which its folder does not name"
    return f"Sounds: {dataset.root.resolve().name}, under the licence of that dataset ({said})."
