"""A search over loss coefficients, stages and batch sizes with Optuna: what sweeps/search.py calls."""

from __future__ import annotations

import functools
import itertools
import math
import shlex
import uuid
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tclap.axes import Axis, find_axis, label
from tclap.config import COEFFICIENTS, Configuration, config_hash
from tclap.console import console
from tclap.errors import InputError
from tclap.lanes import preflight
from tclap.lanes.driver import DONE, Work, conclude, run_jobs, say_preset, say_receipt, without_excluded
from tclap.lanes.start import Start, claimed
from tclap.places import write_atomically
from tclap.redact import without_passwords
from tclap.report.leaderboard import write_leaderboard
from tclap.search_flags import SearchSettings
from tclap.sweep import journal
from tclap.sweep import study as studies
from tclap.sweep.best_so_far import BestSoFar
from tclap.sweep.claim import read_claim
from tclap.sweep.ledger import Ledger, Result, read_ledger
from tclap.sweep.outcome import Outcome, outcome_of
from tclap.sweep.plan import Plan, describe_search, make_plan, search_steps
from tclap.sweep.pricing import find_price
from tclap.sweep.recorded import also_done
from tclap.sweep.space import Range, size
from tclap.sweep.steering import excluded
from tclap.sweep.study_source import StudySource
from tclap.tracking.runs import mean_metrics


def run_search(settings: SearchSettings, first: Sequence[dict[str, Any]] = ()) -> int:
    """Try up to `settings.trials` points, those of `first` before the sampler's; then table, leaderboard and plots.

    The same call again goes on: what is done is told to the study, what was interrupted or has failed is tried again.
    Returns 0, 1 if a trial failed, 130 when it was interrupted. Raises InputError before anything expensive.
    """
    choices = settings.choices()
    limit = int(min(settings.trials, size(choices)))
    first = [point for point in first if all(point[name] in choices[name] for name in point)]
    shared = _stage_a_plan(settings)
    say_preset(settings, shared.trials())
    if settings.dry_run:
        done = preflight.check_dry(settings, shared.trials())
        _describe(settings, limit)
        price = find_price(read_ledger(settings.sweep_folder), settings.identity())
        found = journal.done_points(done, choices, settings.at)
        count = sum(_outcome_at(settings, done, point) is not None for point in found)
        console.print(describe_search(shared, done, limit, count, price))
        return DONE
    _study_place(settings)
    with claimed(settings, shared.trials()) as start:
        _describe(settings, limit)
        study, points = _open_study(settings, start, first[:limit])
        room = studies.room(choices, studies.visited(study, choices), studies.warm(study, choices))
        limit = int(min(limit, room))
        left_out = excluded(settings.sweep_folder)
        done_before = sum(
            config_hash(settings.at(point)) in left_out or _outcome_at(settings, start.ledger, point) is not None
            for point in points
        )
        if done_before < limit:
            stage_a = [job for job in shared.stage_a_jobs() if not start.ledger.is_done(job.configuration, job.seeds)]
            source = StudySource(
                study,
                choices,
                settings.at,
                settings.objectives,
                limit,
                settings.sampler == "grid",
                settings.seed,
                stage_a,
                settings.seeds,
                _say_waiting,
                left_out,
            )

            def total() -> int:
                return limit + len(stage_a)

            before = [*map(settings.at, points)]
            earlier = also_done(start.ledger, before)

            def asked() -> Sequence[Configuration]:
                return [*before, *map(settings.at, source.asked), *earlier]

            price, told_before = find_price(start.ledger, settings.identity()), set(start.ledger.results)
            planned = describe_search(shared, start.ledger, limit, done_before, price)
            console.print(planned)
            planned_s = price.step_s * search_steps(shared, start.ledger, limit - done_before) if price else None
            axes = _axes(settings)
            work = Work(
                examples=shared.jobs,
                known=stage_a,
                source=source,
                total=total,
                before=done_before,
                shown=settings.objectives,
                tried=asked,
                objectives=settings.objectives,
                plan=planned,
                axes=axes,
                best=_best_before(settings, start.ledger, asked(), axes),
            )
            spent = run_jobs(start, work)
            say_receipt(start, told_before, asked(), planned_s, spent)
            source.tell_untold()
            points += source.asked
        return _conclude(start, settings, list(dict.fromkeys(map(settings.at, points))), limit, room)


def _axes(settings: SearchSettings) -> list[Axis]:
    """What the search may vary."""
    return [find_axis(name) for name, v in settings.choices().items() if isinstance(v, Range) or len(v) > 1]


def _best_before(
    settings: SearchSettings, ledger: Ledger, tried: Sequence[Configuration], axes: Sequence[Axis]
) -> BestSoFar:
    """The best of what earlier starts have done to its end, without what somebody has excluded."""
    best, left_out = BestSoFar(settings.objectives[0], settings.guards()), excluded(settings.sweep_folder)
    for configuration in tried:
        if config_hash(configuration) not in left_out and ledger.is_done(configuration, settings.seeds):
            found = ledger.of(configuration, settings.seeds)
            if all(result.stopped_at is None for result in found):
                best.tell(label(configuration, axes), mean_metrics(found))
    return best


def _say_waiting(text: str) -> None:
    console.print(text, style="yellow")


def _study_place(settings: SearchSettings) -> str | Path:
    """The URL given, or the journal file beside the table. Raises InputError if that would be no file."""
    if settings.study is not None:
        return settings.study
    if not isinstance(settings.sweep_folder, Path):
        raise InputError(f"--storage {settings.storage} cannot hold a journal file: give --study the URL of a database")
    return settings.sweep_folder / "study.journal"


def _open_study(
    settings: SearchSettings, start: Start, first: Sequence[dict[str, Any]]
) -> tuple[studies.Study, list[dict[str, Any]]]:
    """The study, brought in line with what is done, `first` queued in it; and the points that it has visited.

    Raises InputError if its storage cannot be used.
    """
    choices = settings.choices()
    owner = None if settings.study is None else _owner(settings, start.dataset_digest)
    place = _study_place(settings)
    damaged = journal.set_aside_if_damaged(place) if isinstance(place, Path) else None
    try:
        study = studies.open_study(
            settings.name,
            place,
            settings.sampler,
            settings.seed,
            settings.objectives,
            owner,
            choices,
            settings.may_grow,
        )
        outcome_at = functools.partial(_outcome_at, settings, start.ledger)
        # What is done and not in this study: its journal was damaged, or the space was another one.
        told = {config_hash(settings.at(trial.params)) for trial in studies.visited(study, choices).values()}
        done = list(journal.done_points(start.ledger, choices, settings.at, told))
        count = journal.rebuild(study, choices, iter(done), outcome_at)
        if damaged is not None:
            text = f"the study's journal was damaged: it is kept as {damaged}, and {count} results are in a new one"
            console.print(text, style="yellow")
        elif count:
            console.print(f"{count} results of this name that the study did not know are told to it")
        if settings.warm_start is not None:
            told_warm = studies.tell_warm(study, choices, settings.warm_start, _warm_trials(settings, start))
            console.print(f"warm start: {told_warm} finished trials of {settings.warm_start} are told to the study")
        studies.take_up(study, choices, outcome_at)
        studies.enqueue_first(study, choices, [*(point for point in done if outcome_at(point) is None), *first])
        return study, [trial.params for trial in studies.visited(study, choices).values()]
    except studies.STORAGE_ERRORS as error:
        why = without_passwords(str(error.__cause__ or error))
        raise InputError(f"the study's storage cannot be used: {why}") from error


def _warm_trials(settings: SearchSettings, start: Start) -> list[tuple[dict[str, Any], list[float]]]:
    """What the sweep `--warm-start` names has found at points of this space, as its own means over its own seeds.

    Raises InputError if there is no such sweep or it cannot be read, if it heard another dataset, or if none of its
    configurations is one that this search could try.
    """
    name = str(settings.warm_start)
    folder = settings.storage / name
    theirs = None if name == settings.name else read_claim(folder)
    if theirs is None:
        raise InputError(f"--warm-start {name}: there is no other sweep of that name in {settings.storage}")
    if theirs.get("dataset") != start.dataset_digest:
        raise InputError(f"--warm-start {name}: it heard another dataset, so its scores are no scores of this search")
    ledger, found = read_ledger(folder, stops_early=False), []
    results: defaultdict[str, list[Result]] = defaultdict(list)
    for (name_of_one, _), result in ledger.results.items():
        results[name_of_one].append(result)
    for point in journal.done_points(ledger, settings.choices(), settings.at):
        metrics = mean_metrics(results[config_hash(settings.at(point))])
        if all(objective in metrics for objective in settings.objectives):
            found.append((point, [metrics[objective] for objective in settings.objectives]))
    if not found:
        raise InputError(f"--warm-start {name}: none of its finished configurations is a point of this search")
    return found


def _owner(settings: SearchSettings, dataset_digest: str) -> dict[str, Any]:
    """What a study in a database is about: as the sweep's folder says it, and which folder, wherever that moves."""
    mark = settings.sweep_folder / "study-owner"
    if not mark.exists():
        write_atomically(mark, f"{settings.sweep_folder.resolve()} {uuid.uuid4().hex[:8]}")
    return {**settings.identity(), "dataset": dataset_digest, "folder": mark.read_text(encoding="utf-8")}


def _stage_a_plan(settings: SearchSettings) -> Plan:
    """One configuration for each stage-A run that the search may need, and for each batch size."""
    # The coefficients are stage B's alone, and so is what may be any number of a range.
    given = {name: v.ends if isinstance(v, Range) else v for name, v in settings.choices().items()}
    choices = {name: values[:1] if name in COEFFICIENTS else values for name, values in given.items()}
    order = ("batch_size", *(name for name in choices if name not in ("batch_size", "stages")), "stages")
    points = [dict(zip(order, values, strict=True)) for values in itertools.product(*(choices[n] for n in order))]
    return make_plan(map(settings.at, points), settings.seeds)


def _describe(settings: SearchSettings, limit: int) -> None:
    choices = settings.choices()
    told = {name: str(values) if isinstance(values, Range) else len(values) for name, values in choices.items()}
    space = ", ".join(f"{name} {values}" for name, values in told.items() if values != 1)
    points = size(choices)
    tried = f"{limit} configurations" if points == math.inf else f"{limit} of {points} configurations"
    console.print(
        f"search {settings.name}: {tried} ({space}), sampler {settings.sampler}, "
        f"maximising {' and '.join(settings.objectives)}, seeds {', '.join(map(str, settings.seeds))}",
    )


def _outcome_at(settings: SearchSettings, ledger: Ledger, point: dict[str, Any]) -> Outcome | None:
    """Each objective's mean over seeds at a point that is done, else None."""
    configuration = settings.at(point)
    if not ledger.is_done(configuration, settings.seeds):
        return None
    found = ledger.of(configuration, settings.seeds)
    return outcome_of(found, mean_metrics(found), settings.objectives, configuration.optimiser.steps)


def _conclude(
    start: Start, settings: SearchSettings, configurations: Sequence[Configuration], limit: int, room: float
) -> int:
    """configurations: in the order in which they were tried, with those that somebody has excluded."""
    plan = make_plan(without_excluded(settings, configurations), settings.seeds)
    missing = [(c, s) for c in plan.trials() for s in start.ledger.seeds_left(c, plan.seeds)]
    if len(configurations) >= room and not missing:
        console.print("the space is spent: every configuration has been tried")
    place = _study_place(settings)
    console.print(f"study: optuna-dashboard {shlex.quote(without_passwords(str(place)))}")

    def write_more(frame: pd.DataFrame, folder: Path) -> list[Path]:
        stem, varied = folder / "leaderboard", settings.vary_draws
        return write_leaderboard(frame, settings.objectives, stem, settings.guards(), vary_draws=varied)

    unfinished = bool(missing) or len(configurations) < limit
    all_done = [*configurations, *also_done(start.ledger, configurations)]
    objectives, axes = settings.objectives, _axes(settings)
    return conclude(start, lambda: all_done, objectives, "search", missing, unfinished, write_more, axes)
