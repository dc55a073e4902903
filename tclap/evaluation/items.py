"""What every task of the evaluation is made of: windows, candidate captions, and which of them are right.

Shapes: n items of a task, K candidates, W windows, Q captions, E averaged captions, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tclap.data.compose import Composites
from tclap.evaluation.ranking import Rule, credit

SCORE_BATCH = 64  # items whose candidates' embeddings [n, K, D] are gathered at once: they should fit a CPU's cache


@dataclass(frozen=True)
class Task:
    """n questions: which of K captions fit this window?"""

    windows: np.ndarray  # [n] row among the suite's composites
    candidates: np.ndarray  # [n, K] row among the suite's captions, averaged ones after the others
    right: np.ndarray  # [n, K] bool
    rule: Rule
    chance: float
    clips: np.ndarray  # [n, 2] the clips heard
    classes: np.ndarray  # [n, 2] their classes


@dataclass(frozen=True)
class Suite:
    """All tasks over one dataset and its folds."""

    composites: Composites
    captions: tuple[str, ...]
    averaged: np.ndarray  # [E, prompts] rows of the captions whose mean is one more candidate; [0, 1] with one prompt
    tasks: dict[str, Task]
    order: Task  # order/moved: f of a pair, its r, f of the next pair, ...
    cases: np.ndarray  # [n] which of order.CASES each item of `order` sounds in
    recordings: np.ndarray  # [clips of the dataset] the recording of each, the unit of every interval


class CaptionRows:
    """Caption -> row, in order of first use."""

    def __init__(self) -> None:
        self.row_of: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.row_of.setdefault(text, len(self.row_of))


def candidate_embeddings(suite: Suite, text: np.ndarray) -> np.ndarray:
    """[Q + E, D]: `text` [Q, D] and under it the averaged captions, as CLIP averages its prompts."""
    if not len(suite.averaged):
        return text
    means = text[suite.averaged].mean(axis=1)  # [E, D]
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return np.concatenate([text, means])


def task_credit(task: Task, audio: np.ndarray, text: np.ndarray) -> np.ndarray:
    """[n] credit in 0..1 of each item. audio [W, D], text [Q + E, D]: L2-normalised embeddings."""
    parts = []
    for start in range(0, len(task.right), SCORE_BATCH):
        items = slice(start, start + SCORE_BATCH)
        windows = audio[task.windows[items], :, None]  # [n, D, 1]
        cosines = (text[task.candidates[items]] @ windows)[..., 0]  # [n, K]
        parts.append(credit(cosines, task.right[items], task.rule))
    return np.concatenate(parts)
