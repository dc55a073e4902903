"""What lies behind the scores of a sweep's best configuration: order by pairs of classes, and mistakes to be heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from tclap.data.dataset import Dataset
from tclap.evaluation.details import MOST, Details, Wrong
from tclap.places import Place, seed_folder_of
from tclap.report.mistakes import Mistake, heard, licence_note
from tclap.sweep.ledger import read_details


@dataclass(frozen=True)
class Behind:
    """Of one configuration; empty if its results were made before details were kept."""

    by_pair: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # title -> percent right, first × second class
    mistakes: Sequence[Mistake] = ()
    mistakes_of: str = ""  # whose, even if there are none; empty if nobody looked
    licence: str = ""
    by_class: pd.DataFrame | None = None  # see `mean_by_class`


def look_behind(sweep: Place, config_hash: str, seeds: Sequence[int], label: str, dataset: Dataset) -> Behind:
    """Behind one configuration of the sweep in folder `sweep`: pairs as means over `seeds`, the worst mistakes of all.

    dataset: the sweep's. Raises InputError if a details file or a clip cannot be read.
    """
    read = {seed: read_details(seed_folder_of(sweep, config_hash, seed)) for seed in sorted(seeds)}
    found = {seed: details for seed, details in read.items() if details is not None}
    if not found:
        return Behind()
    squares = [details.pairs() for details in found.values()]
    mean = sum(squares[1:], squares[0]) / len(squares)
    said = f"mean of {len(found)} seeds" if len(found) > 1 else f"seed {min(found)}"
    every = [*found.values()]
    return Behind(
        {f"{label}, percent right, {said}": mean},
        heard(replace(every[0], wrong=worst(every, dataset)), dataset),
        f"{label}, seed{'s' * (len(found) > 1)} {', '.join(map(str, found))}",
        licence_note(dataset),
        mean_by_class(every),
    )


def mean_by_class(seeds: Sequence[Details]) -> pd.DataFrame:
    """Columns class, right (percent, mean over seeds) and n (items of all seeds that hold the class), worst first."""
    every = pd.concat([details.per_class() for details in seeds])
    mean = every.groupby("class", sort=True).agg(right=("right", "mean"), n=("n", "sum")).reset_index()
    return mean.sort_values("right", kind="stable", ignore_index=True)


def worst(seeds: Sequence[Details], dataset: Dataset) -> tuple[Wrong, ...]:
    """The wrong items of all seeds, as `details.most_wrong` has those of one: the worst of each pair of classes."""
    every = sorted((one for details in seeds for one in details.wrong), key=lambda o: o.cosine_right - o.cosine_chosen)
    kept: dict[frozenset[int], Wrong] = {}
    for one in every:
        kept.setdefault(frozenset(dataset.class_ids[list(one.window[1:3])].tolist()), one)
    return tuple(kept.values())[:MOST]
