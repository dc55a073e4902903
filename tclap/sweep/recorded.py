"""What was trained under a sweep's name, as the checkpoints beside the results say it: no MLflow, no study."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from tclap.config import Configuration, config_hash, from_record
from tclap.places import Place, seed_folder_of
from tclap.sweep.ledger import READERS, Ledger


def done_configurations(ledger: Ledger, besides: Iterable[str] = ()) -> list[Configuration]:
    """The configurations with a result, stage-A runs included, except those whose hash is in `besides`.

    In the order of their hashes. One whose checkpoint does not say what it is of is left out.
    """
    seeds: dict[str, int] = {}  # hash -> a seed that is done
    for name, seed in ledger.results:
        seeds.setdefault(name, seed)
    unknown = sorted(seeds.keys() - set(besides))
    places = [seed_folder_of(ledger.folder, name, seeds[name]) for name in unknown]
    with ThreadPoolExecutor(READERS) as pool:
        found = zip(unknown, pool.map(_recorded, places), strict=True)
    return [configuration for name, configuration in found if configuration and config_hash(configuration) == name]


def also_done(ledger: Ledger, asked: Iterable[Configuration]) -> list[Configuration]:
    """The configurations that an earlier start of this name has finished and this one does not ask for; no stage A."""
    known = {config_hash(configuration) for configuration in asked}
    known |= {config_hash(parent) for parent in (c.parent for c in asked) if parent}
    return [configuration for configuration in done_configurations(ledger, known) if configuration.stages != "A"]


def _recorded(seed: Place) -> Configuration | None:
    try:
        # Not with checkpoint.read_config: this is one small file of an object store instead of the whole checkpoint.
        text = (seed / "checkpoint" / "config.json").read_text(encoding="utf-8")
        return from_record(json.loads(text)["provenance"]["configuration"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return None
