"""Pictures of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure


def table_picture(frame: pd.DataFrame, keys: Sequence[str], columns: Sequence[str], path: Path) -> None:
    """A heat map of the means over seeds [percent]: a row for each configuration, a column for each score."""
    means = frame.groupby(list(keys), sort=False)[list(columns)].mean()
    names = [
        f"{stage}   α_st {st:g}  α_ct {ct:g}  α_so {so:g}  α_co {co:g}  β {beta:g}   batch {batch}"
        + "".join(f"   lr {rate:g}" for rate in lr)
        for stage, st, ct, so, co, beta, batch, *lr in means.index
    ]
    figure, axes = plt.subplots(figsize=(4 + 0.62 * len(columns), 1 + 0.38 * len(names)), layout="constrained")
    axes.imshow(means.to_numpy(), cmap="viridis", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names)
    for (row, column), value in np.ndenumerate(means.to_numpy()):
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color="black" if value > 60 else "white")
    axes.set_title("ZSTE, percent (chance: 3A 33, 3A_order 50)", pad=12)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
