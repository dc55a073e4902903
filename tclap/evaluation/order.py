"""Order that cannot be faked: which of two sounds comes first, wherever the change lies (design 6).

3A_order asks windows whose timings are those of training, and with the paper's timing (the change always at half of the
window) a model answers it by "which sound fills the left half". Here the same question is asked over a fixed grid of
timings, which reaches beyond what training draws. An item is a pair of windows that differ in nothing but the order:
forward f, and reversed r, in which each sound keeps its length, and silence stays where it is. So no preference for a
caption, a longer or a louder sound is right for both.

Shapes: n items (f, r, f, r, ...), m = n/2 pairs, G timings of the grid, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tclap.config import DataSettings
from tclap.data import captions, compose
from tclap.data.dataset import Dataset
from tclap.data.draws import draw_pairs
from tclap.evaluation.items import CaptionRows, Suite, Task
from tclap.evaluation.statistics import Score, cluster_wilson

CHANGES = tuple(n / 10 for n in range(1, 10))


def _touching(change: float, start: int = 0, length: int = compose.GRID) -> tuple[int, int, int, int]:
    """Two sounds without a gap that fill `length` from `start`, the second from `change` of it on."""
    first = round(change * length)
    return start, first, start + first, length - first


# Timings (onset, length, onset, length) in thousandths of the window.
CASES: dict[str, tuple[int, int, int, int]] = {
    **{f"change_{change:g}": _touching(change) for change in CHANGES},
    "first_half": _touching(0.5, 0, 500),
    "middle": _touching(0.5, 250, 500),
    "last_half": _touching(0.5, 500, 500),
    "gap_0.25": (0, 375, 625, 375),  # of the window: half a second for mini, and 1.25 s for msclap-2022
    "gap_0.5": (0, 250, 750, 250),
    "noise": _touching(0.5),  # with another recording underneath
}
NOISY = list(CASES).index("noise")
PAIRS_A_CASE = 60  # so that no dataset needs more than 2 * 60 * 15 windows


def swapped(timing: np.ndarray) -> np.ndarray:
    """Timings [..., 4] of the same two sounds in the other order: lengths change places, the gap and the ends stay."""
    onset, first, second_onset, second = np.moveaxis(np.asarray(timing), -1, 0)
    gap = second_onset - onset - first
    return np.stack([onset, second, onset + second + gap, first], axis=-1)


def order_items(
    dataset: Dataset, folds: Sequence[int], data: DataSettings, row: CaptionRows
) -> tuple[np.ndarray, Task]:
    """Rows of composites [n, 8], in the order of the task's items, and the task, whose windows are 0..n-1.

    The class pairs take turns, so that all occur equally often, to within one. Seeded by `data.draw_seed`.
    """
    names = dataset.class_names
    classes = np.arange(len(names))
    n_pairs = len(names) * (len(names) - 1) // 2
    each = min(PAIRS_A_CASE, n_pairs * data.eval_takes)
    case = np.repeat(np.arange(len(CASES)), each)  # [m]
    takes = -(-len(case) // n_pairs)
    draws = draw_pairs(dataset, folds, classes, takes, data.draw_seed, timing="midpoint", purpose="order")
    rng = np.random.default_rng([data.draw_seed, 10])
    turns = np.concatenate([rng.permutation(n_pairs) for _ in range(takes)])[: len(case)]
    take = np.arange(len(case)) // n_pairs
    clips, own = draws.clips[turns, take], draws.classes[turns, take]  # [m, 2]
    timing = np.array(list(CASES.values()))[case]  # [m, 4]
    forward = compose.join(clips[:, 0], clips[:, 1], timing)
    backward = compose.join(clips[:, 1], clips[:, 0], swapped(timing))
    noise = _noise_clips(dataset, folds, clips[case == NOISY], rng)
    for rows in (forward, backward):
        rows[case == NOISY] = compose.with_noise(rows[case == NOISY], noise)
    before = np.array([[row(captions.before(names[i], names[j])) if i != j else -1 for j in classes] for i in classes])
    i, j = own.T
    both = np.stack([before[i, j], before[j, i]], axis=1)  # [m, 2]
    task = Task(
        windows=np.arange(2 * len(case)),
        candidates=np.repeat(both, 2, axis=0),
        right=np.tile(np.eye(2, dtype=bool), (len(case), 1)),
        rule="top1",
        chance=1 / 2,
        clips=np.stack([clips, clips[:, ::-1]], axis=1).reshape(-1, 2),
        classes=np.stack([own, own[:, ::-1]], axis=1).reshape(-1, 2),
    )
    return np.stack([forward, backward], axis=1).reshape(-1, forward.shape[1]), task


def item_cases(rows: np.ndarray) -> np.ndarray:
    """Which of CASES each of `rows` [n, 8] is of: f with its change at 0.7 has an r with its change at 0.3."""
    grid = {(*timing, name == "noise"): n for n, (name, timing) in enumerate(CASES.items())}
    return np.array([grid[(r[3], r[4], r[5], r[6], r[7] != compose.NO_NOISE)] for r in rows.tolist()])


def _noise_clips(dataset: Dataset, folds: Sequence[int], clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each pair of `clips` [m, 2] a clip of a third class and another recording, which may hold several classes.

    Where there is none, one of a third class or else of another recording; NO_NOISE where there is neither.
    """
    pool = dataset.clips_in(folds)
    drawn = np.full(len(clips), compose.NO_NOISE)
    for n, pair in enumerate(clips):
        third = ~np.isin(dataset.class_ids[pool], dataset.class_ids[pair])
        elsewhere = ~np.isin(dataset.recordings[pool], dataset.recordings[pair])
        others = next((pool[kind] for kind in (third & elsewhere, third, elsewhere) if kind.any()), pool[:0])
        if len(others):
            drawn[n] = rng.choice(others)
    return drawn


def order_scores(suite: Suite, credit: np.ndarray, unseen: Sequence[int] | np.ndarray = ()) -> dict[str, Score]:
    """Scores from the credit [n] of the suite's order items.

    order/moved: share of right answers. order/paired: f and r both right, the group score of Winoground (Thrush et al.
    2022). order/bias: one caption wins for both. order/<case>: moved at one timing. order/unseen: moved over the pairs
    that touch an unseen class. Tied captions share the credit, so order/paired and order/bias are expectations over
    their orders.
    """
    recordings = suite.recordings[suite.order.clips]  # [n, 2]
    f, r = credit[::2], credit[1::2]
    pair = recordings[::2]
    scores = {
        "order/moved": cluster_wilson(credit, recordings, 1 / 2),
        "order/paired": cluster_wilson(f * r, pair, 1 / 4),
        "order/bias": cluster_wilson(f + r - 2 * f * r, pair, 1 / 2),
    }
    for number, name in enumerate(CASES):
        own = suite.cases == number
        if own.any():
            scores[f"order/{name}"] = cluster_wilson(credit[own], recordings[own], 1 / 2)
    touched = np.isin(suite.order.classes, unseen).any(axis=1)
    if touched.any():
        scores["order/unseen"] = cluster_wilson(credit[touched], recordings[touched], 1 / 2)
    return scores


def order_table(suite: Suite, credit: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """One line for each order item: pair, case, first and second (class names, as they sound), right (the credit)."""
    cases, names = np.array(list(CASES)), np.array(class_names)
    return pd.DataFrame(
        {
            "pair": np.arange(len(credit)) // 2,
            "case": cases[suite.cases],
            "first": names[suite.order.classes[:, 0]],
            "second": names[suite.order.classes[:, 1]],
            "right": credit,
        }
    )


def by_class(table: pd.DataFrame) -> pd.DataFrame:
    """order/by_class: percent right and n over the items that hold a class, from an `order_table`, worst first."""
    held = pd.concat([table.rename(columns={side: "class"})[["class", "right"]] for side in ("first", "second")])
    grouped = held.groupby("class")["right"].agg(["mean", "size"])
    grouped["mean"] *= 100
    return grouped.rename(columns={"mean": "right", "size": "n"}).sort_values("right", kind="stable")


def by_pair(table: pd.DataFrame) -> pd.DataFrame:
    """order/by_pair: percent right, a row for the class that comes first, a column for the second; NaN if never heard.

    From an `order_table`; classes in alphabetical order.
    """
    names = sorted({*table["first"], *table["second"]})
    square = 100 * table.pivot_table(index="first", columns="second", values="right", aggfunc="mean")
    return square.reindex(index=names, columns=names)


def curve(scores: dict[str, Score]) -> pd.DataFrame:
    """Accuracy over the change point: columns change, value, low, high; from scores that hold order/change_...."""
    found = [(c, scores[f"order/change_{c:g}"]) for c in CHANGES if f"order/change_{c:g}" in scores]
    return pd.DataFrame([(c, s.value, s.low, s.high) for c, s in found], columns=["change", "value", "low", "high"])
