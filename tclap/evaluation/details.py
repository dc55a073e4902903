"""What lies behind a model's scores: order by pairs of classes, and the items that it gets most wrong (design 13).

It is told from the embeddings that the scores are made of, and is small, so every trial keeps it beside its result.

Shapes: n items, K candidates, W windows, Q captions, D embedding size, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from tclap.evaluation.items import Suite
from tclap.evaluation.order import by_class, by_pair, order_table

MOST = 20
TASK = "3A"  # forward, reversed or at once


@dataclass(frozen=True)
class Wrong:
    """An item whose best candidate is wrong."""

    window: tuple[int, ...]  # row of the composite, see `data.compose`; clips count as the dataset's index does
    right: str  # the best of the right captions
    chosen: str  # the caption that won
    cosine_right: float
    cosine_chosen: float


@dataclass(frozen=True)
class Details:
    """Percent right by pair of classes and by class, and the wrong items, worst first."""

    classes: tuple[str, ...]  # [C] of the rows (the sound that comes first) and columns of by_pair
    by_pair: tuple[tuple[float | None, ...], ...]  # [C, C] percent; None if never heard
    wrong: tuple[Wrong, ...]
    window_s: float  # of the model: how its windows are rendered
    sample_rate_hz: int
    # (class, percent right, items that hold it), worst first; nothing in results from before it was kept
    by_class: tuple[tuple[str, float, int], ...] = ()

    def pairs(self) -> pd.DataFrame:
        """[C, C] percent right; NaN if never heard."""
        return pd.DataFrame(self.by_pair, index=self.classes, columns=self.classes, dtype=float)

    def per_class(self) -> pd.DataFrame:
        """Columns class, right (percent) and n (items that hold the class), worst first."""
        return pd.DataFrame(list(self.by_class), columns=["class", "right", "n"]).astype({"right": float, "n": int})


def details_of(
    suite: Suite,
    class_names: Sequence[str],
    order_credit: np.ndarray,
    audio: np.ndarray,
    text: np.ndarray,
    *,
    window_s: float,
    sample_rate_hz: int,
) -> Details:
    """Details from the credit [n] of the suite's order items and its embeddings, audio [W, D] and text [Q, D]."""
    table = order_table(suite, order_credit, class_names)
    square = by_pair(table)
    cells = [[None if np.isnan(value) else round(value, 2) for value in row] for row in square.to_numpy().tolist()]
    return Details(
        tuple(square.index),
        tuple(map(tuple, cells)),
        tuple(most_wrong(suite, audio, text)),
        window_s,
        sample_rate_hz,
        tuple((str(name), round(right, 2), int(n)) for name, right, n in by_class(table).itertuples()),
    )


def most_wrong(suite: Suite, audio: np.ndarray, text: np.ndarray, most: int = MOST) -> list[Wrong]:
    """The wrong items of TASK with the largest margin, the worst first, one for each unordered pair of classes.

    An item is wrong if a wrong candidate's cosine is above that of every right one; a tie is none.
    """
    task = suite.tasks[TASK]
    cosines = np.einsum("nkd,nd->nk", text[task.candidates], audio[task.windows])
    best_right = np.where(task.right, cosines, -np.inf).argmax(axis=1)
    best_wrong = np.where(task.right, -np.inf, cosines).argmax(axis=1)
    rows = np.arange(len(cosines))
    margin = cosines[rows, best_wrong] - cosines[rows, best_right]
    windows, captions = suite.composites.rows()[task.windows], suite.captions
    found: list[Wrong] = []
    pairs: set[tuple[int, ...]] = set()
    for n in np.argsort(-margin, kind="stable"):
        if margin[n] <= 0 or len(found) == most:
            break
        pair = tuple(sorted(task.classes[n].tolist()))
        if pair not in pairs:
            pairs.add(pair)
            own, other = int(best_right[n]), int(best_wrong[n])
            found.append(
                Wrong(
                    tuple(windows[n].tolist()),
                    captions[task.candidates[n, own]],
                    captions[task.candidates[n, other]],
                    float(cosines[n, own]),
                    float(cosines[n, other]),
                )
            )
    return found


def to_json(details: Details) -> str:
    return json.dumps(asdict(details))


def from_json(text: str) -> Details:
    """Raises ValueError, TypeError or KeyError if `text` is not what `to_json` wrote."""
    raw = json.loads(text)
    return Details(
        tuple(raw["classes"]),
        tuple(map(tuple, raw["by_pair"])),
        tuple(Wrong(**{**one, "window": tuple(one["window"])}) for one in raw["wrong"]),
        raw["window_s"],
        raw["sample_rate_hz"],
        tuple(map(tuple, raw.get("by_class", ()))),
    )
