"""Optuna's study as the memory of a search: ask for points that are new, and take up what a dead process left.

Optuna's samplers repeat themselves: 96 draws from a space of 96 points gave 26 to 63 distinct ones. So a point that was
drawn before is told as failed (user attribute `rejected`), and the nearest one that was not drawn takes its place.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import LOCK_FILE_SUFFIX
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tclap.errors import InputError
from tclap.redact import without_passwords
from tclap.sweep.claim import differences
from tclap.sweep.outcome import STOPPED_EARLY, Outcome
from tclap.sweep.space import Choices, Range, beside, shuffled, size

Study = optuna.study.Study
Key = tuple[tuple[str, Any], ...]
POPULATION = 16  # NSGA-II's; Optuna's 50 would be random search for most sweeps
OWNER, REJECTED, RETRY_OF, WARM = "tclap", "rejected", "retry_of", "warm_start"
STORAGE_ERRORS = (StorageInternalError, OSError)  # of a database, of a journal file


def open_study(
    name: str,
    storage: str | Path,
    sampler: str,
    seed: int,
    objectives: Sequence[str],
    owner: Mapping[str, Any] | None = None,
    choices: Choices | None = None,
    may_grow: Collection[str] = (),
) -> optuna.study.Study:
    """The study `name`, made where it does not exist; `storage` is a journal file or the URL of a database.

    choices: the space. Optuna holds a study to the one that it began with, so another space has a study of its own in
    the same storage: `name (2)` and so on. owner: of a database, which others may use: what the search is about,
    JSON-able; what is in `may_grow` of it may be another now. Raises InputError where the database cannot be used, or
    has a study of that name that is about something else: its scores would be taken for this search's, and its trials
    for dead ones.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place: BaseStorage
    if isinstance(storage, Path):
        place = JournalStorage(_journal(storage))
    else:
        logging.getLogger("alembic").setLevel(logging.WARNING)
        try:
            # A server closes connections that nothing used while a trial ran for hours.
            place = RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})
        except (SQLAlchemyError, ImportError) as error:
            raise InputError(
                f"--study: Optuna cannot use this database: {without_passwords(str(error).splitlines()[0])}"
            ) from error
    name = name if choices is None else _name_for(place, name, choices)
    study = optuna.create_study(
        study_name=name, storage=place, load_if_exists=True, directions=["maximize"] * len(objectives)
    )
    if owner is not None:
        if not study.trials and OWNER not in study.user_attrs:
            study.set_user_attr(OWNER, dict(owner))
        known, given = study.user_attrs.get(OWNER, {}), json.loads(json.dumps(owner))
        fixed = {key for key in (known.keys() | given.keys()) if key not in may_grow}
        changes = differences(*({key: side[key] for key in fixed & side.keys()} for side in (known, given)))
        if changes:
            raise InputError(
                f"--study has a study {name} of another search: {changes}; choose another --name or --study"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(objectives))
    # Seeded by what was drawn before, too: a resumed search must not draw its first points again.
    study.sampler = _sampler(sampler, int(np.random.SeedSequence([seed, len(study.trials)]).generate_state(1)[0]))
    return study


def _name_for(storage: BaseStorage, name: str, choices: Choices) -> str:
    """`name`, or `name (2)` and so on: the first that is not there yet, or whose trials were drawn from `choices`."""
    wanted, there = distributions(choices), set(optuna.get_all_study_names(storage))

    def fits(trial: FrozenTrial) -> bool:
        drawn = trial.distributions
        if trial.state == TrialState.COMPLETE and drawn.keys() != wanted.keys():
            return False
        return all(wanted.get(key) == distribution for key, distribution in drawn.items())

    for number in itertools.count(1):
        one = name if number == 1 else f"{name} ({number})"  # which no sweep can be called
        if one not in there:
            return one
        study = optuna.load_study(study_name=one, storage=storage)
        if all(map(fits, study.get_trials(deepcopy=False))):
            return one
    raise AssertionError("counted to the end")


def _journal(file: Path) -> JournalFileBackend:
    """The journal by its absolute path: Optuna's lock is a link to it, and would spin for ever on one that dangles."""
    path = os.path.abspath(file)
    lock = path + LOCK_FILE_SUFFIX
    if os.path.islink(lock) and not os.path.exists(lock):
        os.unlink(lock)  # left by a killed process that named the journal by a relative path
    return JournalFileBackend(path)


def _sampler(kind: str, seed: int) -> BaseSampler:
    if kind == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # constant_liar, since trials overlap; multivariate, since it looks at all trials once for a point and not
            # once for each parameter, which takes a third of a second after two thousand of them.
            return TPESampler(seed=seed, constant_liar=True, multivariate=True)
    if kind == "nsga2":
        return NSGAIISampler(seed=seed, population_size=POPULATION)
    return RandomSampler(seed=seed)  # a grid enqueues its points itself


def key(point: Mapping[str, Any]) -> Key:
    """A point's name: equal for equal points."""
    return tuple(sorted(point.items()))


def visited(study: optuna.study.Study, choices: Choices) -> dict[Key, FrozenTrial]:
    """The points that were drawn, in the order of their first trial; each with its complete or else latest trial.

    Without those that another sweep has tried: see `warm`.
    """
    found: dict[Key, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False):
        if WARM in trial.user_attrs:
            continue
        drawn = trial.state != TrialState.WAITING and trial.params.keys() == choices.keys()  # not killed while drawing
        name = key(trial.params)
        told = name in found and found[name].state == TrialState.COMPLETE
        if drawn and not told and REJECTED not in trial.user_attrs:
            found[name] = trial
    return found


def warm(study: optuna.study.Study, choices: Choices) -> set[Key]:
    """The points that another sweep has tried, and that this study was told of."""
    trials = (trial for trial in study.get_trials(deepcopy=False) if WARM in trial.user_attrs)
    return {key(trial.params) for trial in trials if trial.params.keys() == choices.keys()}


def room(choices: Choices, seen: Collection[Key], others: set[Key]) -> float:
    """How many points a study may try: those of the space that no other sweep has tried first; infinite in a range.

    seen: what `visited` finds; others: what `warm` finds.
    """
    return size(choices) - len(others.difference(seen))


def tell_warm(
    study: optuna.study.Study, choices: Choices, sweep: str, trials: Iterable[tuple[dict[str, Any], Sequence[float]]]
) -> int:
    """Tell a study what another sweep has found: points with their objectives; those that it knows stay as they are.

    They count as no trial of this search, and are not drawn. Returns how many were told.
    """
    known = {*visited(study, choices), *warm(study, choices)}
    told = 0
    for point, values in trials:
        if key(point) not in known:
            study.add_trial(
                optuna.trial.create_trial(
                    params=point,
                    distributions=distributions(choices),
                    values=list(values),
                    user_attrs={WARM: sweep},
                )
            )
            told += 1
    return told


def ask(study: optuna.study.Study, choices: Choices, limit: int, grid: bool, seed: int) -> Trial | None:
    """A trial at a point that is new, or one that is to be tried again; None at `limit` points or at the space's end.

    grid: take the points of the product, in an order that `seed` draws, instead of the sampler's.
    """
    drawn_from = distributions(choices)
    while True:
        seen, others = visited(study, choices), warm(study, choices)
        waiting = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.WAITING]
        full = len(seen) >= min(limit, room(choices, seen, others))
        if full and not any(RETRY_OF in t.user_attrs for t in waiting):
            return None
        if grid and not waiting:
            known = {*seen, *others}
            study.enqueue_trial(next(point for point in shuffled(choices, seed) if key(point) not in known))
        trial = study.ask(drawn_from)
        drawn = key(trial.params)
        before = seen.get(drawn)
        retried = before is not None and before.number == trial.user_attrs.get(RETRY_OF)
        if retried or (before is None and drawn not in others):
            return trial
        trial.set_user_attr(REJECTED, f"same as trial {before.number}" if before else "another sweep has tried it")
        study.tell(trial, state=TrialState.FAIL)
        if not full:
            study.enqueue_trial(
                beside(trial.params, choices, {*seen, *others}, np.random.default_rng([seed, len(seen)]))
            )


def distributions(choices: Choices) -> dict[str, BaseDistribution]:
    """What Optuna draws each value from."""
    return {name: _distribution(values) for name, values in choices.items()}


def _distribution(values: Sequence[Any] | Range) -> BaseDistribution:
    """A range, also where listed values ascend by exactly one step: samplers know which are close; else categories."""
    if isinstance(values, Range):
        number = IntDistribution if values.whole else FloatDistribution
        return number(values.low, values.high, log=values.log)  # type: ignore[arg-type]
    if len(values) > 2 and all(isinstance(v, float) for v in values):
        step = values[1] - values[0]
        if step > 0 and list(values) == [values[0] + i * step for i in range(len(values))]:
            return FloatDistribution(values[0], values[-1], step=step)
    return CategoricalDistribution(values)


def tell(study: optuna.study.Study, number: int, outcome: Outcome | None) -> None:
    """End a trial with its objectives, or as failed where there are none or one is not finite.

    One that has ended stays as it is: a storage may have taken what it did not answer.
    """
    if outcome is None or not all(map(math.isfinite, outcome.values)):
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        return
    told = study.get_trials(deepcopy=False)[number]
    if outcome.constraints.keys() - told.constraints.keys() and not told.state.is_finished():
        Trial(study, told._trial_id).set_constraint(STOPPED_EARLY, outcome.lacking)
    study.tell(number, list(outcome.values), skip_if_finished=True)


def take_up(
    study: optuna.study.Study, choices: Choices, outcome_at: Callable[[dict[str, Any]], Outcome | None]
) -> None:
    """After a start: tell the trials of dead processes, and enqueue again what was interrupted, has failed or is lost.

    outcome_at: that of a point whose results are there, else None: so, too, where they were deleted after the study was
    told, or were stopped early and go on now. Call it while no trial runs.
    """
    trials = study.get_trials(deepcopy=False)
    queued = {t.user_attrs.get(RETRY_OF) for t in trials if t.state == TrialState.WAITING}
    points = visited(study, choices)
    latest = {trial.number for trial in points.values()}
    for trial in trials:
        if trial.state == TrialState.RUNNING and trial.number not in latest:  # killed while it was drawn or rejected
            tell(study, trial.number, None)
    for trial in points.values():
        if trial.number in queued:
            continue
        outcome = outcome_at(trial.params)
        if trial.state == TrialState.RUNNING:
            tell(study, trial.number, outcome)
        elif outcome is not None and trial.state == TrialState.FAIL:
            # It was done after the study was told: the results are what counts.
            add(study, trial.params, trial.distributions, outcome)
        if outcome is None:
            study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})


def add(
    study: optuna.study.Study,
    point: Mapping[str, Any],
    drawn_from: Mapping[str, BaseDistribution],
    outcome: Outcome,
) -> None:
    """A further trial that has ended."""
    study.add_trial(
        optuna.trial.create_trial(
            params=dict(point),
            distributions=dict(drawn_from),
            values=list(outcome.values),
            constraints=outcome.constraints,
        )
    )


def enqueue_first(study: optuna.study.Study, choices: Choices, points: Iterable[dict[str, Any]]) -> None:
    """Queue points that the study has not drawn yet; they come before the sampler's.

    A point may leave values to the sampler: it has been drawn if some point that was agrees with all that it names.
    """
    waiting = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.WAITING]
    queued = (key(t.system_attrs["fixed_params"]) for t in waiting)
    known = [set(name) for name in (*visited(study, choices), *warm(study, choices), *queued)]
    for point in points:
        if not any(point.items() <= values for values in known):
            study.enqueue_trial(point)
