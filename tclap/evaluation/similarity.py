"""How well which text fits which sound: cosines between files of any length and free texts.

A model hears windows of one length. A file that is longer is heard in windows that overlap by half, so that any
sequence of up to half a window lies whole in one of them, and a text is compared with the window that fits it best. A
shorter file is padded with silence. Nothing is repeated, cropped at random, or left out.

Shapes: n files, W windows of a file, T samples of a window, m texts, D embedding size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tclap.data.audio import SILENCE_PEAK, decode
from tclap.data.compose import WINDOW_RMS
from tclap.errors import InputError
from tclap.evaluation.retrieval import embed_texts
from tclap.models.protocol import ContrastiveModel

BATCH_WINDOWS = 32
BATCH_FILES = 32
LONGER = "longer than a window"  # what `similarities` notes in `attrs`: the files of which no window holds the whole


def similarities(model: ContrastiveModel, audio: Sequence[str], texts: Sequence[str]) -> pd.DataFrame:
    """Cosines: a row for each audio file, a column for each text, in the order given.

    A file of any format, rate and length: its best window for each text. `.attrs["longer than a window"]` lists the
    files that no window holds whole: a sequence longer than half a window may be cut in each of them. Raises InputError
    if either is empty, and naming every file that cannot be used.
    """
    if not audio or not texts:
        raise InputError("similarities need at least one audio file and one text")
    text = embed_texts(model, texts)  # [m, D]
    length = window_samples(model)
    rows: list[np.ndarray] = []
    longer: list[str] = []
    problems: list[str] = []

    def load(path: str) -> np.ndarray | str:
        try:
            return decode(Path(path), model.sample_rate_hz)
        except InputError as error:
            return os.path.join(os.path.dirname(path), str(error))  # which begins with the file's name

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(audio), BATCH_FILES):
            batch = audio[start : start + BATCH_FILES]
            for path, wave in zip(batch, pool.map(load, batch), strict=True):
                if isinstance(wave, str):
                    problems.append(wave)
                elif not problems:
                    longer += [path] * (len(wave) > length)
                    best = [embed_windows(model, windows) @ text.T for windows in _batches(cut_windows(wave, length))]
                    rows.append(np.concatenate(best).max(axis=0))
    if problems:
        raise InputError(f"{len(problems)} unusable file(s): {'; '.join(problems)}")
    found = pd.DataFrame(np.stack(rows), index=pd.Index(audio, name="audio"), columns=pd.Index(texts, name="text"))
    found.attrs[LONGER] = longer
    return found


def longer_note(cosines: pd.DataFrame, model: ContrastiveModel) -> str:
    """How `similarities` heard the files that no window holds whole, for people; nothing if there is none."""
    longer = cosines.attrs[LONGER]
    if not longer:
        return ""
    return (
        f"longer than a window of {model.window_s:g} s: {', '.join(longer)}: heard in windows that overlap by half, "
        "each text compared with the best; what lasts longer than half a window may be cut"
    )


def window_samples(model: ContrastiveModel) -> int:
    """T of a model's window."""
    return round(model.window_s * model.sample_rate_hz)


def cut_windows(wave: np.ndarray, length: int) -> np.ndarray:
    """Windows [W, length] of a mono wave, each at WINDOW_RMS: one, padded at its end, if the wave is no longer.

    Else they overlap by half, and the last ends where the wave ends. Silent windows are left out; the loudest is kept.
    """
    if len(wave) <= length:
        windows = np.pad(wave, (0, length - len(wave)))[None]
    else:
        starts = np.unique([*range(0, len(wave) - length, max(length // 2, 1)), len(wave) - length])
        windows = np.lib.stride_tricks.sliding_window_view(wave, length)[starts]
    peaks = np.abs(windows).max(axis=1)
    windows = windows[(peaks >= SILENCE_PEAK) | (peaks == peaks.max())]
    rms = np.sqrt(np.mean(np.square(windows, dtype=np.float64), axis=1, keepdims=True))
    return (windows * (WINDOW_RMS / rms)).astype(np.float32)


@torch.no_grad()
def embed_windows(model: ContrastiveModel, windows: np.ndarray) -> np.ndarray:
    """[W, D] embeddings of windows [W, T]."""
    wave = torch.from_numpy(windows).to(model.logit_scale.device)
    embedded: np.ndarray = model.audio_head(model.audio_frozen(wave)).float().cpu().numpy()
    return embedded


def _batches(windows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(windows), BATCH_WINDOWS):
        yield windows[start : start + BATCH_WINDOWS]
