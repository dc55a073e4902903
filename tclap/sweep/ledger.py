"""What of a sweep is done: a result beside each checkpoint, read once a start and kept up to date by what lanes report.

`STORAGE/NAME/trials/<config_hash>/seed-<n>/result.json` is the authority (design 9). MLflow's runs and Optuna's study
are brought in line with it, never the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from tclap.config import Configuration, config_hash
from tclap.errors import InputError
from tclap.evaluation import details as details_
from tclap.evaluation.details import Details
from tclap.evaluation.statistics import Score
from tclap.places import DETAILS, RESULT, Place, seed_folder, trials_folder, write_atomically
from tclap.sweep.curve import Curve

READERS = 16  # at once: an object store answers each in tens of milliseconds
Key = tuple[str, int]  # config_hash and seed


@dataclass(frozen=True)
class Result:
    """What a finished configuration and seed leaves behind; its checkpoint lies beside it."""

    config_hash: str
    seed: int
    scores: dict[str, Score]
    train_s: float  # wall time of the training loop
    steps: int  # taken in that time; fewer than the configuration's if it was taken up again
    host: str
    run_id: str | None = None  # MLflow's
    retrieval: dict[str, dict[str, Score]] = field(default_factory=dict)  # benchmark -> "t2a_r1", ... -> score
    curve: Curve = field(default_factory=dict)  # with --evaluate-every; its last point is that of `scores`
    stopped_at: int | None = None  # the step at which it was stopped early; its state lies beside it

    @property
    def key(self) -> Key:
        return self.config_hash, self.seed


class Ledger:
    """The results of the sweep in `folder` by configuration and seed, in memory.

    stops_early: whether what was stopped early counts as done; else it is left out, and goes on.
    """

    def __init__(self, folder: Place, results: Iterable[Result] = (), stops_early: bool = True) -> None:
        self._folder, self._stops_early = folder, stops_early
        self._results = {result.key: result for result in results if self._counts(result)}

    def _counts(self, result: Result) -> bool:
        return self._stops_early or result.stopped_at is None

    @property
    def folder(self) -> Place:
        return self._folder

    def add(self, result: Result) -> None:
        self._results[result.key] = result

    def look_again(self, configuration: Configuration, seeds: Iterable[int]) -> None:
        """Read what is there of one configuration: its job ended without saying which seeds are done."""
        for seed in seeds:
            result = read_result(seed_folder(self._folder, configuration, seed))
            if result is not None and self._counts(result):
                self.add(result)

    def get(self, configuration: Configuration, seed: int) -> Result | None:
        return self._results.get((config_hash(configuration), seed))

    def of(self, configuration: Configuration, seeds: Iterable[int]) -> list[Result]:
        """The results of those of `seeds` that are done."""
        name = config_hash(configuration)
        return [self._results[name, seed] for seed in seeds if (name, seed) in self._results]

    def is_done(self, configuration: Configuration, seeds: Iterable[int]) -> bool:
        return not self.seeds_left(configuration, seeds)

    def seeds_left(self, configuration: Configuration, seeds: Iterable[int]) -> list[int]:
        """Those of `seeds` that are to be run."""
        wanted = list(seeds)
        return seeds_left(wanted, self.of(configuration, wanted))

    @property
    def results(self) -> Mapping[Key, Result]:
        return self._results


def seeds_left(seeds: Iterable[int], done: Iterable[Result]) -> list[int]:
    """Those of a configuration's `seeds` without a result in `done`; none if one was stopped early: it decides."""
    found = {result.seed: result for result in done}
    if any(result.stopped_at is not None for result in found.values()):
        return []
    return [seed for seed in seeds if seed not in found]


def read_ledger(sweep: Place, stops_early: bool = True) -> Ledger:
    """Everything that is done below the sweep's folder: one listing, and the files read side by side.

    stops_early: as for `Ledger`. Raises InputError naming a file that is no result of this version.
    """
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(_read, sorted(trials_folder(sweep).glob(f"*/*/{RESULT}")))
        return Ledger(sweep, found, stops_early)


def write_result(folder: Place, result: Result) -> None:
    """Mark a seed as done. Written last and atomically: if it exists, the checkpoint beside it is whole."""
    write_atomically(folder / RESULT, to_json(result))


def read_result(folder: Place) -> Result | None:
    """The result of a seed, or None if it is not done. Raises InputError as `read_ledger` does."""
    return _read(folder / RESULT) if (folder / RESULT).exists() else None


def write_details(folder: Place, details: Details) -> None:
    """Keep what lies behind the scores beside a seed's result; write it first."""
    write_atomically(folder / DETAILS, details_.to_json(details))


def read_details(folder: Place) -> Details | None:
    """What lies behind a seed's scores; None if it was made before details were kept."""
    path = folder / DETAILS
    if not path.exists():
        return None
    try:
        return details_.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not of this version of tclap: delete it, and reports do without it") from error


def drop_result(folder: Place) -> None:
    """Take a seed that was stopped early for one that is not done; its state is where it goes on."""
    (folder / RESULT).unlink(missing_ok=True)


def to_json(result: Result) -> str:
    return json.dumps(asdict(result), indent=1)


def from_json(text: str) -> Result:
    """Raises ValueError, TypeError, KeyError or AttributeError if `text` is not what `to_json` wrote."""
    raw: dict[str, Any] = dict(json.loads(text))
    retrieval = {name: _scores(scores) for name, scores in raw.pop("retrieval").items()}
    curve = {int(step): values for step, values in raw.pop("curve", {}).items()}
    return Result(**{**raw, "scores": _scores(raw["scores"]), "retrieval": retrieval, "curve": curve})


def _read(path: Place) -> Result:
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not a result of this version of tclap: delete it to run the seed again") from error


def _scores(raw: dict[str, dict[str, float]]) -> dict[str, Score]:
    return {name: Score(**score) for name, score in raw.items()}  # type: ignore[arg-type]
