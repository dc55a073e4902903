"""A fixed list of configurations: what a sweep script such as sweeps/table4.py calls."""

from __future__ import annotations

from collections.abc import Sequence

from tclap.config import Configuration, config_hash
from tclap.console import console
from tclap.flags import SweepSettings
from tclap.lanes.session import check_dataset, claimed, conclude, show, start, stopping_cleanly
from tclap.lanes.waves import Progress, run_wave
from tclap.places import staged, stop_requested
from tclap.report.tables import result_frame, untrained_warning, write_rows, write_tables
from tclap.sweep.plan import Plan, describe, make_plan, results


def run_sweep(settings: SweepSettings, configurations: Sequence[Configuration], table: str) -> int:
    """Run `configurations` and write their table as `table`.csv, .md, .html and .png.

    Returns 0 when all is done, 1 where a trial failed, 130 when it was interrupted. The same call again runs what is
    not done yet. Raises InputError before anything expensive where settings and dataset do not fit.
    """
    plan = make_plan(configurations, settings.seeds)
    if settings.dry_run:
        if settings.data is not None and settings.data.exists():
            check_dataset(settings.data, plan.trials())
        elif settings.data is not None:
            console.print(f"note: {settings.data} does not exist yet, so folds and batch sizes are not checked")
        console.print(describe(plan, settings.sweep_folder))
        return 0
    folder = settings.sweep_folder
    with claimed(settings, plan.trials()) as (data, dataset_digest):
        console.print(describe(plan, folder))
        if len(results(plan, folder)) < sum(len(wave) for wave in plan.waves) * len(plan.seeds):
            with stopping_cleanly(folder):
                sweep, at_once = start(settings, data, dataset_digest, plan.trials()[0])
                progress = _progress(plan, settings)
                for wave in plan.waves:
                    if not stop_requested(folder):
                        run_wave([c for c in wave if not progress.is_done(c)], sweep, at_once, progress)
        done = results(plan, folder)
        frame = result_frame(list(dict.fromkeys(configurations)), done)
        warning = untrained_warning(settings.weights)
        missing = [(c, s) for wave in plan.waves for c in wave for s in plan.seeds if (config_hash(c), s) not in done]
        with staged(folder) as written:
            files = []
            if len(frame):
                files = [*write_tables(frame, written / table, warning), write_rows(frame, table, (), written)]
                show(files[1])
            return conclude(settings, data, dataset_digest, files, missing, bool(missing))


def _progress(plan: Plan, settings: SweepSettings) -> Progress:
    def is_done(configuration: Configuration) -> bool:
        one = Plan(((configuration,),), plan.seeds)
        return len(results(one, settings.sweep_folder)) == len(plan.seeds)

    everything = [c for wave in plan.waves for c in wave]
    return Progress(len(everything), sum(map(is_done, everything)), is_done)
