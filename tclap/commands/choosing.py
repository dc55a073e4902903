"""`tclap best` and `tclap report`: choose a sweep's winner, and rebuild its tables and plots, from MLflow alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import BaseModel, Field
from rich.table import Table

from tclap.console import console
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS
from tclap.places import cache_folder, check_writable
from tclap.redact import shown
from tclap.report.leaderboard import (
    Guard,
    paired_cells,
    paired_comparisons,
    parse_guard,
    rank,
    ranking_cells,
    winner,
    write_leaderboard,
)
from tclap.report.tables import mean_and_interval, setting_columns, settings_label, untrained_warning, write_tables
from tclap.sweep.plan import label

# What needs MLflow or Optuna is imported where it is used: it takes seconds, and other commands should not wait.
if TYPE_CHECKING:
    from tclap.tracking.read import SweepRecord, Trial

OBJECTIVES = ("zste/temporal", "zste/1")  # of a sweep that was no search: what is learned, and what was retained
SHOWN_ROWS = 20


class SweepFlags(BaseModel):
    """Which sweep, and where."""

    name: str = Field(description="the sweep's --name")
    storage: Path = Field(Path("runs"), description="the sweep's --storage; MLFLOW_TRACKING_URI beats its MLflow store")


class Best(SweepFlags):
    """Rank a sweep's configurations on the evaluation folds, score the winner on the test folds, register it.

    The winner and the untrained base are scored on the test folds once; the scores are read back from then on.
    """

    metric: str = Field("zste/temporal", description="what is maximised, by its MLflow name")
    guard: tuple[str, ...] = Field((), description='what must hold besides, such as "zste/1>=70"; repeatable')
    data: Path | None = Field(None, description="the sweep's dataset, where it has moved")

    def cli_cmd(self) -> None:
        from tclap.tracking import champion
        from tclap.tracking.final_scores import others_scored, scores_on_test_folds
        from tclap.tracking.read import open_store, read_sweep

        guards = [parse_guard(text) for text in self.guard]
        client, experiment_id, uri = open_store(self.storage)
        sweep = read_sweep(client, experiment_id, self.name)
        best, seeds = self._rank(sweep, guards)
        if others_scored(sweep, seeds):
            console.print(
                "note: the test folds were scored before for another winner of this sweep; "
                "choosing again after looking at them is choosing on them",
                style="yellow",
            )
        own, base = scores_on_test_folds(client, sweep, seeds, self.data, cache_folder(self.storage))
        _print_test_scores(own, base, seeds[0].configuration.data.test_folds)
        warning = untrained_warning(seeds[0].configuration.model.weights)
        if warning:
            console.print(warning.replace("*", ""), style="red", markup=False)
        chosen = max(seeds, key=lambda trial: trial.metrics[self.metric])
        why = {
            "sweep": sweep.name,
            "config_hash": best,
            "seed": str(chosen.seed),
            "metric": self.metric,
            "guards": ", ".join(map(str, guards)),
        }
        version = champion.register(client, uri, chosen, why)
        how = f"seed {chosen.seed}, which has the best {self.metric} of {len(seeds)} on the evaluation folds"
        done = "registered as" if version.new else "is registered already:"
        console.print(f"{done} {champion.MODEL} version {version.number}, alias {champion.ALIAS}: {how}", markup=False)
        _say_how_to_load(champion.ADDRESS, uri, self.storage)

    def _rank(self, sweep: SweepRecord, guards: Sequence[Guard]) -> tuple[str, list[Trial]]:
        """Print ranking, front and comparisons; the winner's hash and its trials, one for each seed."""
        frame = sweep.frame()
        objectives = tuple(dict.fromkeys((self.metric, *(sweep.objectives or OBJECTIVES))))
        ranked = rank(frame, self.metric, guards, objectives)
        _print_table(f"{sweep.name}: ranking by {self.metric} on the evaluation folds", ranking_cells(ranked))
        front = ranked[ranked["front"]]
        _print_table(f"Pareto front of {', '.join(objectives)}", ranking_cells(front).drop(columns="front"))
        best = str(winner(ranked)["config_hash"])
        paired = paired_comparisons(frame, self.metric, best)
        paired = paired.set_index("config_hash", drop=False).loc[[h for h in ranked["config_hash"] if h != best]]
        if len(paired):
            title = f"the winner less each other: {self.metric} over the same seeds, p not adjusted for their number"
            _print_table(title, paired_cells(paired))
        seeds = [trial for trial in sweep.trials if trial.config_hash == best]
        console.print(f"winner: {best}  {label(seeds[0].configuration)}", markup=False)
        return best, seeds


class Report(SweepFlags):
    """Rebuild a sweep's table, leaderboard and plots from MLflow alone."""

    out: Path | None = Field(None, description="folder to write to; default: the sweep's own, STORAGE/NAME")

    def cli_cmd(self) -> None:
        from tclap.report.study_plots import write_study_plots
        from tclap.tracking.read import open_store, read_sweep

        client, experiment_id, _ = open_store(self.storage)
        sweep = read_sweep(client, experiment_id, self.name)
        out = self.out or self.storage / self.name
        check_writable(out)
        frame = sweep.frame()
        warning = untrained_warning(sweep.trials[0].configuration.model.weights)
        files = write_tables(frame, out / sweep.table, warning)
        objectives = sweep.objectives or OBJECTIVES
        files += write_leaderboard(frame, objectives, out / "leaderboard")
        files += write_study_plots(frame, objectives, out)
        console.print(f"{len(frame)} rows of {frame['config_hash'].nunique()} configurations", markup=False)
        for file in files:
            console.print(str(file), markup=False)


def _print_table(title: str, cells: pd.DataFrame) -> None:
    """Print the first rows of text cells; the settings share one column, so that a line fits a terminal."""
    cells = cells.drop(columns="config_hash")
    named = settings_label(cells)
    cells = cells.drop(columns=setting_columns(cells))
    cells.insert(cells.columns.get_loc("seeds"), "configuration", named)  # type: ignore[arg-type]
    table = Table(*cells.columns, title=title, title_justify="left")
    for row in cells.head(SHOWN_ROWS).itertuples(index=False):
        table.add_row(*row)
    console.print(table)
    if len(cells) > SHOWN_ROWS:
        console.print(f"and {len(cells) - SHOWN_ROWS} more (`tclap report` writes them all)", markup=False)


def _print_test_scores(own: Sequence[Mapping[str, float]], base: Mapping[str, float], folds: Sequence[int]) -> None:
    seeds = pd.DataFrame(list(own))
    table = Table("task", "winner", "untrained base", title=f"test folds {list(folds)}, percent", title_justify="left")
    for name in [*COLUMNS, *EXTRA_COLUMNS, "mean", "temporal"]:
        table.add_row(name, mean_and_interval(seeds[name]), f"{base[name]:.1f}")
    console.print(table)


def _say_how_to_load(address: str, uri: str, storage: Path) -> None:
    console.print("to use it in Python:", markup=False)
    console.print(f'  import mlflow; mlflow.set_tracking_uri("{shown(uri)}")', markup=False)
    question = '{"audio": ["a.wav", "b.wav"], "text": ["dog before cat"]}'
    console.print(f'  mlflow.pyfunc.load_model("{address}").predict({question})', markup=False)
    flag = "" if storage == Path("runs") else f" --storage {shlex.quote(str(storage))}"
    console.print(f'or: tclap score {address} a.wav b.wav "dog before cat"{flag}', markup=False)
