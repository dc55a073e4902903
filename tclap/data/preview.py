"""Composites to listen to: what the models hear, as wav files with their captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from tclap.config import Timing
from tclap.data import captions, compose
from tclap.data.dataset import Dataset, check_folds
from tclap.data.draws import draw_pairs
from tclap.places import check_new_folder


def write_preview(
    dataset: Dataset,
    out: Path,
    count: int,
    window_s: float,
    sample_rate_hz: int,
    seed: int,
    timing: Timing = "drawn",
    folds: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Write single, forward, reversed and overlay windows of `count` class pairs; returns and writes captions.csv.

    folds: whose clips are heard; None: all. The csv's columns: file, caption, and when the window sounds. Beside it,
    items.csv has the forward and reversed windows as order items, which `tclap order plain` scores. Raises InputError
    if `out` holds files already, the dataset has one class, a fold is not there or lacks a class, or a clip cannot be
    used.
    """
    check_new_folder(out)
    check_folds(dataset, {} if folds is None else {"folds": tuple(folds)})
    n_classes = len(dataset.class_names)
    heard_folds = np.unique(dataset.folds).tolist() if folds is None else list(folds)
    draws = draw_pairs(dataset, heard_folds, np.arange(n_classes), 1, seed, timing=timing)
    pairs = np.random.default_rng(seed).permutation(len(draws.clips))[:count]
    first, second = draws.clips[pairs, 0].T
    joined, alone = draws.timing[pairs, 0], draws.alone[pairs, 0]
    rows = np.concatenate(
        [
            compose.single(first, alone),
            compose.join(first, second, joined),
            compose.join(second, first, joined),
            compose.overlay(first, second, alone),
        ]
    )
    names = [(dataset.class_names[i], dataset.class_names[j]) for i, j in draws.classes[pairs, 0]]
    texts = [captions.single_zste(i) for i, _ in names]
    texts += [captions.before(i, j) for i, j in names] + [captions.before(j, i) for i, j in names]
    texts += [captions.overlaid(i, j) for i, j in names]
    kinds = np.repeat(["single", "forward", "reversed", "overlay"], len(pairs))
    composites = compose.Composites(rows)
    bank = compose.load_events(dataset, composites, window_s, sample_rate_hz)
    windows = compose.render(bank, composites, 0, len(rows))
    out.mkdir(parents=True, exist_ok=True)
    files = [f"{number % len(pairs):02d}-{kind}.wav" for number, kind in enumerate(kinds)]
    for file, window in zip(files, windows, strict=True):
        soundfile.write(out / file, window, sample_rate_hz, subtype="FLOAT")
    spans = composites.timing * (window_s / compose.GRID)  # [n, 4] seconds
    heard = [
        " and ".join(f"{onset:.2f}-{onset + length:.2f} s" for onset, length in span.reshape(2, 2) if length)
        for span in spans
    ]
    table = pd.DataFrame({"file": files, "caption": texts, "heard": heard}).sort_values("file")
    table.to_csv(out / "captions.csv", index=False, encoding="utf-8")
    said = dict(zip(files, texts, strict=True))
    items = [
        (f"{n:02d}-{one}.wav", said[f"{n:02d}-{one}.wav"], said[f"{n:02d}-{other}.wav"], f"pair {n}")
        for n in range(len(pairs))
        for one, other in (("forward", "reversed"), ("reversed", "forward"))
    ]
    frame = pd.DataFrame(items, columns=["audio", "right", "wrong", "group"])
    frame.to_csv(out / "items.csv", index=False, encoding="utf-8")
    return table
