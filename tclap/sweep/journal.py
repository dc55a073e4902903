"""A search's journal file that a crash or a full disk has damaged: it is set aside, and made again from the results.

Optuna reads a journal line by line. A blank line, two records on one line or a row of NULs stop it with a traceback. A
last line without its end does not, but the next record is glued to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tclap.axes import find_axis, value_of
from tclap.config import Configuration, config_hash
from tclap.errors import InputError
from tclap.sweep.ledger import Ledger
from tclap.sweep.outcome import Outcome
from tclap.sweep.recorded import done_configurations
from tclap.sweep.study import Choices, add, distributions, key, visited

MAKES_A_STUDY = 0  # the first record's op_code
# What Optuna raises when a journal's records, each of them JSON, make no sense together.
NONSENSE = (KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError, RecursionError)


def set_aside_if_damaged(journal: Path) -> Path | None:
    """Rename a journal that Optuna could not read; its new name, or None if it is sound or not there.

    Call it while no search has the journal open. Raises InputError if the file cannot be read or renamed.
    """
    try:
        if not os.path.lexists(journal) or _is_sound(journal):
            return None
        number = 1
        while (kept := journal.with_name(f"{journal.name}.damaged-{number}")).exists():
            number += 1
        os.replace(journal, kept)
    except OSError as error:
        raise InputError(f"the study's journal {journal} cannot be read: {error.strerror}") from error
    return kept


def _is_sound(journal: Path) -> bool:
    with open(journal, "rb") as file:
        for number, line in enumerate(file):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                return False
            if not line.endswith(b"\n") or not isinstance(record, dict) or not isinstance(record.get("op_code"), int):
                return False
            if number == 0 and record["op_code"] != MAKES_A_STUDY:
                return False  # Optuna passes over what belongs to a study that it does not know
    try:
        storage = JournalStorage(JournalFileBackend(os.path.abspath(journal)))
        for study in storage.get_all_studies():
            storage.get_all_trials(study._study_id)
    except (*NONSENSE, optuna.exceptions.OptunaError):
        return False
    return True


def done_points(
    ledger: Ledger,
    choices: Choices,
    at: Callable[[dict[str, Any]], Configuration],
    besides: Iterable[str] = (),
) -> Iterator[dict[str, Any]]:
    """The points of `choices` with a result in `ledger`, as their checkpoints say; by hash, without those of `besides`.

    One whose checkpoint does not say is trained again, and its score is the same.
    """
    for configuration in done_configurations(ledger, besides):
        point = point_of(configuration, choices)
        if point is not None and config_hash(at(point)) == config_hash(configuration):
            yield point


def point_of(configuration: Configuration, choices: Choices) -> dict[str, Any] | None:
    """Where a configuration lies among `choices`; None if it is stage A alone, or not among them."""
    if configuration.stages == "A":
        return None
    try:
        values = {name: value_of(configuration, find_axis(name)) for name in choices}
    except ValueError:  # its stages differ in what is one choice
        return None
    return values if all(values[name] in choices[name] for name in choices) else None


def rebuild(
    study: optuna.study.Study,
    choices: Choices,
    points: Iterator[dict[str, Any]],
    outcome_at: Callable[[dict[str, Any]], Outcome | None],
) -> int:
    """Tell a new study what is done; returns how many points that was.

    outcome_at: that of a point whose results are all there, else None.
    """
    known: Mapping[Any, Any] = visited(study, choices)
    count = 0
    for point in points:
        outcome = outcome_at(point)
        if outcome is not None and key(point) not in known:
            add(study, point, distributions(choices), outcome)
            count += 1
    return count
