"""A search over loss coefficients, stages and batch sizes with Optuna: what sweeps/search.py calls."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from tclap.config import Configuration, config_hash
from tclap.console import console
from tclap.errors import InputError
from tclap.lanes.searcher import StudySearcher
from tclap.lanes.session import check_dataset, claimed, conclude, show, start, stopping_cleanly
from tclap.lanes.waves import Progress, run_searcher, run_wave
from tclap.places import at, staged, stop_requested, write_atomically
from tclap.report.leaderboard import write_leaderboard
from tclap.report.study_plots import write_study_plots
from tclap.report.tables import result_frame, untrained_warning, write_rows, write_tables
from tclap.search_flags import SearchSettings
from tclap.sweep import study as studies
from tclap.sweep.plan import Plan, describe, make_plan, results
from tclap.tracking import runs as tracking


def run_search(settings: SearchSettings, first: Sequence[dict[str, Any]] = ()) -> int:
    """Try up to `settings.trials` points, those of `first` before the sampler's; then table, leaderboard and plots.

    The same call again goes on: what is done is told to the study, what was interrupted or has failed is tried again.
    Returns 0, 1 where a trial failed, 130 when it was interrupted. Raises InputError before anything expensive.
    """
    choices = settings.choices()
    limit = min(settings.trials, studies.size(choices))
    shared = _stage_a_plan(settings)
    if settings.dry_run:
        if settings.data is not None and settings.data.exists():
            check_dataset(settings.data, shared.trials())
        _describe(settings, limit)
        console.print(describe(Plan((tuple(shared.stage_a_runs()),), settings.seeds), settings.sweep_folder))
        return 0
    _study_place(settings)
    with claimed(settings, shared.trials()) as (data, dataset_digest):
        _describe(settings, limit)
        study, points = _open_study(settings, dataset_digest, first[:limit])
        done_before = sum(_objectives_at(settings, point) is not None for point in points)
        if done_before < limit:
            with stopping_cleanly(settings.sweep_folder):
                sweep, at_once = start(settings, data, dataset_digest, shared.trials()[0])
                is_done = functools.partial(_is_done, settings)
                stage_a = [c for c in shared.stage_a_runs() if not is_done(c)]
                run_wave(stage_a, sweep, at_once, Progress(len(stage_a), 0, is_done))
                stopped = functools.partial(stop_requested, at(sweep.folder))
                searcher = StudySearcher(
                    study,
                    choices,
                    settings.at,
                    settings.objectives,
                    limit,
                    settings.sampler == "grid",
                    settings.seed,
                    stopped,
                )
                if not stopped():
                    run_searcher(searcher, sweep, at_once, Progress(limit, done_before, is_done))
                    searcher.tell_untold()
                    points += searcher.asked
        configurations = list(dict.fromkeys(map(settings.at, points)))
        return _conclude(settings, data, dataset_digest, configurations, limit)


def _study_place(settings: SearchSettings) -> str | Path:
    """The URL given, or the journal file beside the table. Raises InputError where that would be no file."""
    if settings.study is not None:
        return settings.study
    if not isinstance(settings.sweep_folder, Path):
        raise InputError(f"--storage {settings.storage} cannot hold a journal file: give --study the URL of a database")
    return settings.sweep_folder / "study.journal"


def _open_study(
    settings: SearchSettings, dataset_digest: str, first: Sequence[dict[str, Any]]
) -> tuple[optuna.study.Study, list[dict[str, Any]]]:
    """The study, brought in line with what is done, `first` queued in it; and the points that it has visited.

    Raises InputError where its storage cannot be used.
    """
    choices = settings.choices()
    owner = None if settings.study is None else _owner(settings, dataset_digest)
    try:
        study = studies.open_study(
            settings.name, _study_place(settings), settings.sampler, settings.seed, settings.objectives, owner
        )
        studies.take_up(study, choices, functools.partial(_objectives_at, settings))
        studies.enqueue_first(study, choices, first)
        return study, [trial.params for trial in studies.visited(study, choices).values()]
    except studies.STORAGE_ERRORS as error:
        raise InputError(f"the study's storage cannot be used: {error.__cause__ or error}") from error


def _owner(settings: SearchSettings, dataset_digest: str) -> dict[str, Any]:
    """What a study in a database is about: as the sweep's folder says it, and which folder, wherever that moves."""
    mark = settings.sweep_folder / "study-owner"
    if not mark.exists():
        write_atomically(mark, f"{settings.sweep_folder.resolve()} {uuid.uuid4().hex[:8]}")
    return {**settings.identity(), "dataset": dataset_digest, "folder": mark.read_text(encoding="utf-8")}


def _stage_a_plan(settings: SearchSettings) -> Plan:
    """One configuration for each stage-A run that the search may need, and for each batch size."""
    choices = settings.choices()
    corner = {name: values[0] for name, values in choices.items()}
    points = [
        {**corner, "stages": stages, "batch_size": batch_size, "lr": lr}
        for batch_size in choices["batch_size"]
        for lr in choices.get("lr", (settings.lr,))
        for stages in choices["stages"]
    ]
    return make_plan(map(settings.at, points), settings.seeds)


def _describe(settings: SearchSettings, limit: int) -> None:
    space = ", ".join(f"{name} {len(values)}" for name, values in settings.choices().items() if len(values) > 1)
    points = studies.size(settings.choices())
    console.print(
        f"search {settings.name}: {limit} of {points} configurations ({space}), sampler {settings.sampler}, "
        f"maximising {' and '.join(settings.objectives)}, seeds {', '.join(map(str, settings.seeds))}",
        markup=False,
    )


def _is_done(settings: SearchSettings, configuration: Configuration) -> bool:
    found = results(Plan(((configuration,),), settings.seeds), settings.sweep_folder)
    return len(found) == len(settings.seeds)


def _objectives_at(settings: SearchSettings, point: dict[str, Any]) -> list[float] | None:
    """Each objective's mean over seeds at a point whose seeds are all done, else None."""
    configuration = settings.at(point)
    found = results(Plan(((configuration,),), settings.seeds), settings.sweep_folder)
    if len(found) < len(settings.seeds):
        return None
    metrics = tracking.mean_metrics(list(found.values()))
    return [metrics[name] for name in settings.objectives]


def _conclude(
    settings: SearchSettings, data: Path, dataset_digest: str, configurations: Sequence[Configuration], limit: int
) -> int:
    plan = make_plan(configurations, settings.seeds)
    done = results(plan, settings.sweep_folder)
    frame = result_frame(configurations, done)  # in the order in which they were tried
    missing = [(c, s) for c in plan.trials() for s in plan.seeds if (config_hash(c), s) not in done]
    if len(plan.trials()) >= studies.size(settings.choices()) and not missing:
        console.print("the space is spent: every configuration has been tried", markup=False)
    place = _study_place(settings)
    shown = place if isinstance(place, Path) else sqlalchemy.make_url(place)  # which hides the password
    console.print(f"study: optuna-dashboard {shown}", markup=False)
    with staged(settings.sweep_folder) as written:
        files = []
        if len(frame):
            files = write_tables(frame, written / "search", untrained_warning(settings.weights))
            files.append(write_rows(frame, "search", settings.objectives, written))
            files += write_leaderboard(frame, settings.objectives, written / "leaderboard")
            files += write_study_plots(frame, settings.objectives, written)
            show(files[1])
        unfinished = bool(missing) or len(plan.trials()) < limit
        return conclude(settings, data, dataset_digest, files, missing, unfinished)
