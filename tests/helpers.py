"""Plain helpers shared by several test modules."""

from pathlib import Path

import numpy as np

from tclap.data.dataset import Dataset


def index_only(classes: int, clips_per_fold: int = 2, folds: int = 5) -> Dataset:
    """A dataset without audio; clips of each class and fold are spread over the index."""
    rows = [(fold, c) for _ in range(clips_per_fold) for fold in range(1, folds + 1) for c in range(classes)]
    return Dataset(
        root=Path("nowhere"),
        filenames=tuple(f"{n}.wav" for n in range(len(rows))),
        folds=np.array([fold for fold, _ in rows]),
        class_ids=np.array([c for _, c in rows]),
        class_names=tuple(f"class {c}" for c in range(classes)),
        recordings=np.arange(len(rows)),
    )
