"""`tclap best` and `tclap report`: choose a sweep's winner, and rebuild its tables and plots, from MLflow alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field
from rich.table import Table

from tclap.config import Configuration
from tclap.console import NARROW, console
from tclap.data import captions
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS
from tclap.places import UserPath, cache_folder, check_writable
from tclap.redact import without_passwords
from tclap.report.grid import spread
from tclap.report.leaderboard import (
    best_line,
    column_of,
    paired_cells,
    paired_comparisons,
    rank,
    ranking_cells,
    weakest_case,
    winner,
    write_leaderboard,
)
from tclap.report.ranking_table import print_ranking
from tclap.report.tables import (
    ORDER,
    hash_labels,
    mean_and_interval,
    metric_of,
    untrained_warning,
    write_tables,
)
from tclap.sweep.stopping import Guard, parse_guard
from tclap.sweep.sweep import DEFAULT_OBJECTIVES

# What needs MLflow or Optuna is imported where it is used: it takes seconds, and other commands should not wait.
if TYPE_CHECKING:
    from tclap.tracking.final_scores import Logged, TestScores
    from tclap.tracking.read import SweepRecord, Trial
    from tclap.tracking.runs import MlflowClient


class SweepFlags(BaseModel):
    """Which sweep, and where."""

    name: str = Field(description="the sweep's --name")
    storage: UserPath = Field(
        Path("runs"), description="the sweep's --storage; MLFLOW_TRACKING_URI beats its MLflow store"
    )


class Best(SweepFlags):
    """Rank a sweep's configurations on the evaluation folds, score the winner on the test folds, register it.

    The winner and the untrained base are scored on the test folds once; the scores are read back from then on.
    """

    metric: str | None = Field(
        None,
        description="what is maximised, by its MLflow name; default: zste/order (zste/temporal of old sweeps)",
    )
    guard: tuple[str, ...] = Field(
        (), description='what must hold besides, such as "zste/1>=70"; repeatable; default: the sweep\'s own guards'
    )
    data: UserPath | None = Field(None, description="the sweep's dataset, where it has moved")
    promote: bool = Field(False, description="make the winner the champion, in place of another sweep's")

    def cli_cmd(self) -> None:
        from tclap.tracking import champion
        from tclap.tracking.final_scores import others_scored, scores_on_test_folds
        from tclap.tracking.read import existing_store, read_sweep

        given = tuple(parse_guard(text) for text in self.guard)
        client, experiment_id, uri = existing_store(self.storage)
        sweep = read_sweep(client, experiment_id, self.name)
        guards = given or sweep.guards
        # By its own name, which the runs and the registry have: `column_of` knows zste/order/moved, too.
        metric = metric_of(column_of(sweep.frame(), self.metric or _default_metric(sweep)))
        best, seeds = _rank(sweep, metric, guards)
        if others_scored(sweep, seeds):
            console.print(
                "note: the test folds were scored before for another winner of this sweep; "
                "choosing again after looking at them is choosing on them",
                style="yellow",
            )
        found = scores_on_test_folds(client, sweep, seeds, self.data, cache_folder(self.storage))
        _print_test_scores(found, seeds[0].configuration)
        warning = untrained_warning(seeds[0].configuration.model.weights)
        if warning:
            console.print(warning.replace("*", ""), style="red")
        chosen = max(seeds, key=lambda trial: trial.metrics[metric])
        why = {
            "sweep": sweep.name,
            "config_hash": best,
            "seed": str(chosen.seed),
            "metric": metric,
            "guards": ", ".join(map(str, guards)),
        }
        version = champion.register(client, uri, chosen, why)
        how = f"seed {chosen.seed}, which has the best {metric} of {len(seeds)} on the evaluation folds"
        done = "registered as" if version.new else "is registered already:"
        console.print(f"{done} {champion.MODEL} version {version.number}, alias {version.alias}: {how}")
        _choose_champion(client, version.number, metric, self.promote)
        _say_how_to_load(f"models:/{champion.MODEL}@{version.alias}", uri, self.storage, _example(client, chosen))


def _choose_champion(client: MlflowClient, number: str, metric: str, promoted: bool) -> None:
    """Say which version is the champion, and let another take its place only if that was asked for."""
    from tclap.tracking import champion

    before = champion.champion_now(client)
    if before in (None, number):
        champion.promote(client, number)
        console.print(f"champion: version {number}{', the first one' if before is None else ', as before'}")
        return
    assert before is not None
    ours, theirs = (champion.standing(client, one, metric) for one in (number, before))
    if promoted:
        champion.promote(client, number)
        console.print(f"champion: {ours}; it was {theirs}")
    else:
        console.print(f"champion: still {theirs}; this is {ours} (--promote puts it in its place)")
    if ours.scored_on != theirs.scored_on:
        console.print(
            "note: the two were not scored on the same items (dataset, evaluation folds, draws), so these scores "
            "cannot be compared",
            style="yellow",
        )


def _default_metric(sweep: SweepRecord) -> str:
    """zste/order, unless every trial is from before it was scored."""
    return "zste/order" if any("zste/order" in trial.metrics for trial in sweep.trials) else "zste/temporal"


def _objectives(sweep: SweepRecord) -> tuple[str, ...]:
    """What the sweep maximised; of one that was no search, what is learned and what was retained."""
    return sweep.objectives or (_default_metric(sweep), *DEFAULT_OBJECTIVES[1:])


def _rank(sweep: SweepRecord, metric: str, guards: Sequence[Guard]) -> tuple[str, list[Trial]]:
    """Print ranking, front and comparisons; the winner's hash and its trials, one for each seed."""
    frame = sweep.frame()
    objectives = tuple(dict.fromkeys((metric, *_objectives(sweep))))
    ranked = rank(frame, metric, guards, objectives)
    print_ranking(f"{sweep.name}: ranking by {metric} on the evaluation folds", ranking_cells(ranked))
    front = ranked[ranked["front"]]
    print_ranking(f"Pareto front of {', '.join(objectives)}", ranking_cells(front).drop(columns="front"))
    best = str(winner(ranked)["config_hash"])
    paired = paired_comparisons(frame, metric, best)
    compared = [name for name in ranked["config_hash"] if name in set(paired["config_hash"])]
    paired = paired.set_index("config_hash", drop=False).loc[compared]
    if len(paired):
        title = f"the winner less each other: {metric} over the same seeds, after selection by the same scores"
        print_ranking(title, paired_cells(paired))
        console.print(
            "The winner was chosen by these scores, so its differences are too large by chance; p is adjusted (Holm) "
            f"for all {(len(paired) + 1) * len(paired) // 2} pairs that might have been compared, "
            "the intervals are not.",
        )
    seeds = [trial for trial in sweep.trials if trial.config_hash == best]
    console.print(f"winner: {best}  {best_line(ranked, metric, hash_labels(frame))}")
    weakest = weakest_case(frame, best)
    if weakest:
        console.print(weakest)
    ties = ranked[(ranked[metric] == ranked[metric].iloc[0]) & (ranked["excluded"] == "")]["config_hash"].tolist()[1:]
    if ties:
        console.print(
            f"note: {', '.join(ties)} {'has' if len(ties) == 1 else 'have'} the same {metric}; the winner is the one "
            "that stands first in the sweep's table",
            style="yellow",
        )
    if len(seeds) == 1:
        console.print(
            "note: one seed, so nothing says how much of a difference is chance; the sweep's own command with "
            "--seeds 0,1,2 goes on with more",
            style="yellow",
        )
    else:
        console.print(spread(seeds[0].configuration.vary_draws))
    return best, seeds


class Report(SweepFlags):
    """Rebuild a sweep's table, leaderboard and plots from MLflow alone."""

    out: UserPath | None = Field(None, description="folder to write to; default: the sweep's own, STORAGE/NAME")

    def cli_cmd(self) -> None:
        from tclap.report.study_plots import write_study_plots
        from tclap.tracking.read import existing_store, read_sweep

        client, experiment_id, _ = existing_store(self.storage)
        sweep = read_sweep(client, experiment_id, self.name)
        out = self.out or self.storage / self.name
        check_writable(out)
        frame = sweep.frame()
        warning = untrained_warning(sweep.trials[0].configuration.model.weights)
        files = write_tables(frame, out / sweep.table, warning, sweep.about(client), sweep.links())
        objectives = _objectives(sweep)
        varied = sweep.trials[0].configuration.vary_draws
        files += write_leaderboard(frame, objectives, out / "leaderboard", sweep.guards, varied)
        files += write_study_plots(frame, objectives, out)
        console.print(f"{len(frame)} rows of {frame['config_hash'].nunique()} configurations")
        for file in files:
            console.print(str(file))


def _print_test_scores(found: TestScores, configuration: Configuration) -> None:
    """Means over the winner's seeds, and of the base of each, with a seed's interval over recordings, and the
    difference of the two."""
    seeds, bases = (pd.DataFrame([scores.value for scores in of_each]) for of_each in (found.winner, found.base))
    names = [n for n in [*COLUMNS, *EXTRA_COLUMNS, *ORDER, "mean", "temporal"] if n in seeds]
    folds = list(configuration.data.test_folds)
    table = Table(
        *("task", "winner ± seeds", "interval", "base ± seeds", "interval", "winner less base"),
        title=f"test folds {folds}, percent, 95% intervals over recordings; base: before post-training",
        **NARROW,
    )
    for name in names:
        difference = _mean_interval(found.difference, name, signed=True)
        table.add_row(
            name,
            mean_and_interval(seeds[name]),
            _mean_interval(found.winner, name),
            mean_and_interval(bases[name]) if name in bases else "n/a",
            _mean_interval(found.base, name),
            f"{np.mean([d.value[name] for d in found.difference]):+.1f} ({difference})" if difference else "",
        )
    console.print(table)
    if len(found.winner) > 1:
        console.print("intervals over recordings are those of one seed: the means of the seeds' bounds")


def _mean_interval(scores: Sequence[Logged], name: str, signed: bool = False) -> str:
    """The mean of several intervals as text; nothing for means over columns, which have none."""
    if any(name not in score.low for score in scores):
        return ""
    low, high = (float(np.mean([getattr(score, end)[name] for score in scores])) for end in ("low", "high"))
    return f"{low:+.1f} to {high:+.1f}" if signed else f"{low:.1f}–{high:.1f}"


def _example(client: MlflowClient, trial: Trial) -> str:
    """A caption of the sounds that the trial was scored on, since mini knows no other words."""
    from tclap.tracking.artifacts import read_class_names

    first, second, *_ = [*read_class_names(client, trial.run_id), "dog", "cat"]
    return captions.before(first, second)


def _say_how_to_load(address: str, uri: str, storage: Path, text: str) -> None:
    console.print("to use it in Python:")
    console.print(f'  import mlflow; mlflow.set_tracking_uri("{without_passwords(uri)}")')
    question = json.dumps({"audio": ["a.wav", "b.wav"], "text": [text]})
    console.print(f'  mlflow.pyfunc.load_model("{address}").predict({question})')
    flag = "" if storage == Path("runs") else f" --storage {shlex.quote(str(storage))}"
    console.print(f"or: tclap score {address} a.wav b.wav {shlex.quote(text)}{flag}")
