"""Two sweeps side by side: the configurations that they have in common, paired over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tclap.axes import label, shown
from tclap.config import Configuration
from tclap.errors import InputError
from tclap.evaluation.statistics import holm, paired_t

Scored = tuple[Configuration, int, Mapping[str, float]]  # with its seed and metrics by their MLflow names
Values = dict[str, Any]  # path of a field -> value


@dataclass(frozen=True)
class Comparison:
    """What two sweeps have in common, and what tells them apart."""

    rows: pd.DataFrame  # see `compare`
    differences: tuple[str, ...]  # "data.timing: drawn, midpoint": settings that differ between them throughout
    alone: tuple[int, int]  # configurations that only the first, only the second has


def compare(one: Iterable[Scored], other: Iterable[Scored], metric: str) -> Comparison:
    """Pair the configurations of two sweeps by everything that varies within either of them.

    So the same row of Table IV is one pair, whichever learning rate or timing the two sweeps have throughout; what
    differs between them is told in `differences`. Columns of `rows`: `configuration` (its name), `seeds` (that both
    have), `first`, `second` (means over these), `difference` (second less first), `low`, `high` (its 95% interval), `p`
    (two-sided paired t-test, by Holm's procedure adjusted for the number of pairs). One seed, and differences that do
    not vary, have no interval and no test: NaN. Raises InputError if no configuration has a partner and a seed in
    common with it.
    """
    first, second = _by_configuration(one), _by_configuration(other)
    values = {c: _flat(c.model_dump(mode="json")) for c in (*first, *second)}
    within = _differing([values[c] for c in first]) | _differing([values[c] for c in second])
    apart = _differing(list(values.values())) - within
    partners = {_key(values[c], within): c for c in second}
    rows = []
    matched = 0
    for configuration, of_first in first.items():
        partner = partners.get(_key(values[configuration], within))
        if partner is None:
            continue
        matched += 1
        of_second = second[partner]
        seeds = [s for s in of_first if s in of_second and metric in of_first[s] and metric in of_second[s]]
        if seeds:
            a = np.array([of_first[seed][metric] for seed in seeds])
            b = np.array([of_second[seed][metric] for seed in seeds])
            rows.append({"configuration": _name(configuration, within), "seeds": len(seeds), **_paired(a, b)})
    if not rows:
        raise InputError(f"there is nothing to compare: no configuration and seed has {metric} in both sweeps")
    table = pd.DataFrame(rows)
    table["p"] = holm(table["p"].to_numpy(float), len(table))
    told = tuple(
        f"{path}: {_throughout(first, values, path)}, {_throughout(second, values, path)}" for path in sorted(apart)
    )
    return Comparison(table, told, (len(first) - matched, len(second) - matched))


def _by_configuration(scored: Iterable[Scored]) -> dict[Configuration, dict[int, Mapping[str, float]]]:
    found: defaultdict[Configuration, dict[int, Mapping[str, float]]] = defaultdict(dict)
    for configuration, seed, metrics in scored:
        found[configuration][seed] = metrics
    return dict(found)


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Values:
    """{"a": {"b": 1}} -> {"a.b": 1}; a stage that a configuration does not have has no paths."""
    flat: Values = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[prefix + name] = tuple(value) if isinstance(value, list) else value
    return flat


def _differing(configurations: Sequence[Values]) -> set[str]:
    """The paths of which those that have them have several values."""
    found: defaultdict[str, set[Any]] = defaultdict(set)
    for values in configurations:
        for path, value in values.items():
            found[path].add(value)
    return {path for path, of_path in found.items() if len(of_path) > 1}


def _key(values: Values, paths: Iterable[str]) -> tuple[tuple[str, Any], ...]:
    return tuple((path, values[path]) for path in sorted(paths) if path in values)


def _name(configuration: Configuration, within: set[str]) -> str:
    usual = ("stages", "batch_size", "coefficients.")
    own = _flat(configuration.model_dump(mode="json"))
    more = [f"  {path} {shown(own[path])}" for path in sorted(within) if path in own and not path.startswith(usual)]
    return label(configuration) + "".join(more)


def _throughout(sweep: Iterable[Configuration], values: Mapping[Configuration, Values], path: str) -> str:
    return next((shown(values[c][path]) for c in sweep if path in values[c]), "none")


def _paired(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """a, b: [seeds]."""
    difference = b - a
    low, high, p = paired_t(difference)
    return {
        "first": float(a.mean()),
        "second": float(b.mean()),
        "difference": float(difference.mean()),
        "low": low,
        "high": high,
        "p": p,
    }
