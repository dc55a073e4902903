"""Plain helpers shared by several test modules."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tclap import cli
from tclap.console import console
from tclap.data.dataset import Dataset


def tclap(*flags: object, environment: Mapping[str, str] | None = None) -> str:
    """What the command printed, on a wide terminal. Raises SystemExit if its exit code is not 0."""
    with pytest.MonkeyPatch.context() as patch, console.capture() as captured:
        patch.setattr(sys, "argv", ["tclap", *map(str, flags)])
        patch.setattr(console, "_width", 250)  # COLUMNS is read once, at the start
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        try:
            cli.main()
        except SystemExit as stopped:
            if stopped.code:
                raise
    return captured.get()


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


def write_csv(dataset: Dataset, csv: Path) -> Path:
    """The clips of a dataset as a csv anywhere, with their labels, folds and recordings; returns its path."""
    columns = {
        "path": [os.path.relpath(dataset.path(n), csv.parent) for n in range(len(dataset.filenames))],
        "label": [dataset.class_names[c] for c in dataset.class_ids],
        "fold": dataset.folds,
        "recording": dataset.recordings,
    }
    pd.DataFrame(columns).to_csv(csv, index=False)
    return csv
