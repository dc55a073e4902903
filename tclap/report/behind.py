"""What lies behind the scores of a sweep's best configuration: order by pairs of classes, and mistakes to be heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from tclap.data.dataset import Dataset
from tclap.places import Place, seed_folder_of
from tclap.report.mistakes import Mistake, heard, licence_note
from tclap.sweep.ledger import read_details


@dataclass(frozen=True)
class Behind:
    """Of one configuration; empty if its results were made before details were kept."""

    by_pair: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # title -> percent right, first × second class
    mistakes: Sequence[Mistake] = ()
    mistakes_of: str = ""
    licence: str = ""


def look_behind(sweep: Place, config_hash: str, seeds: Sequence[int], label: str, dataset: Dataset) -> Behind:
    """Behind one configuration of the sweep in folder `sweep`: pairs as means over `seeds`, mistakes of the first one.

    dataset: the sweep's. Raises InputError if a details file or a clip cannot be read.
    """
    read = {seed: read_details(seed_folder_of(sweep, config_hash, seed)) for seed in sorted(seeds)}
    found = {seed: details for seed, details in read.items() if details is not None}
    if not found:
        return Behind()
    squares = [details.pairs() for details in found.values()]
    mean = sum(squares[1:], squares[0]) / len(squares)
    said = f"mean of {len(found)} seeds" if len(found) > 1 else f"seed {min(found)}"
    first = min(found)
    return Behind(
        {f"{label}, percent right, {said}": mean},
        heard(found[first], dataset),
        f"{label}, seed {first}",
        licence_note(dataset),
    )
