"""What people see of a sweep besides its log: MLflow's first page, the parent run's note, report.html, the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from tclap.axes import Axis, varying
from tclap.config import Configuration, config_hash
from tclap.console import console
from tclap.data.layouts import read_index
from tclap.evaluation.zste import BOUNDS
from tclap.lanes.start import Start, Store
from tclap.lanes.stopping import this_command
from tclap.places import does_not_answer, staged
from tclap.report.behind import Behind, look_behind
from tclap.report.curves import MOST_CURVES, history_frame
from tclap.report.grid import About, Grid, has_order
from tclap.report.leaderboard import best_line, rank, ranking_cells
from tclap.report.note import sweep_note
from tclap.report.order_picture import write_order_picture
from tclap.report.page import LOSS, Page, write_page
from tclap.report.ranking_table import print_ranking
from tclap.report.tables import (
    about_scores,
    grids_of,
    hash_labels,
    result_frame,
    untrained_warning,
    write_rows,
    write_tables,
)
from tclap.sweep.curve import SHOWN
from tclap.sweep.steering import excluded
from tclap.tracking import page as mlflow_page
from tclap.tracking import runs as tracking
from tclap.tracking.history import read_history
from tclap.tracking.system import SystemMetrics

NOTE_EVERY_S, PAGE_EVERY_S = 5.0, 60.0  # a page takes a second to draw
AWAY_S = 600.0  # until MLflow is asked again that did not answer
SHARE = 0.05  # of the time that showing may take, while thousands of configurations make it long
REPORT, ORDER = "report.html", "order.png"
OLDER = ("zste/temporal", "zste/1")  # ranks results that were made before order had a measure of its own


class Board:
    """Shows what is done of the configurations that `tried` names: asked each time, since a search adds to them.

    The first of `objectives` ranks them.
    """

    def __init__(
        self,
        start: Start,
        store: Store,
        tried: Callable[[], Sequence[Configuration]],
        objectives: Sequence[str],
        plan: str = "",
    ) -> None:
        """plan: as text, shown while the sweep runs."""
        self._plan = plan
        self._start, self._store, self._tried, self._objectives = start, store, tried, tuple(objectives)
        self._name, self._ledger = start.settings.name, start.ledger
        self._warning = untrained_warning(start.settings.weights)
        self._guards = tuple(start.settings.guards())
        self._command = this_command()
        self._next_note_at, self._next_page_at = 0.0, time.monotonic() + PAGE_EVERY_S
        self._system = SystemMetrics(store.client, store.run_id)  # of the machine that the script runs on
        self._told = 0  # how many results the parent's metrics are the best of
        self._behind: dict[tuple[str, tuple[int, ...]], Behind] = {}  # of the best configuration: its hash and seeds

    def link(self, axes: Collection[Axis] = ()) -> str:
        """Address of the sweep's leaderboard on MLflow's page, which is set up to show its columns.

        axes: what may vary, besides what those that were tried differ in.
        """
        columns = mlflow_page.leaderboard_columns(self._objectives, varying(self._distinct(), axes))
        client, experiment_id, objective = self._store.client, self._store.experiment_id, self._objectives[0]
        some_excluded = bool(excluded(self._start.settings.sweep_folder))
        end = mlflow_page.set_up_experiment(client, experiment_id, self._name, objective, columns, some_excluded)
        return f"{self._store.page.rstrip('/')}/{end}"

    def update(self, status: str) -> bool:
        """Write the note, and less often the page; returns whether it did, and not just a moment ago."""
        began = time.monotonic()
        if began < self._next_note_at:
            return False
        try:
            frame = self._frame()
            self._write_note(frame, status)
            self._system.log_when_due()
            if len(frame) and began > self._next_page_at:
                with staged(self._start.settings.sweep_folder) as written:
                    self._write_page(frame, status, written)
                self._next_page_at = began + PAGE_EVERY_S
        except Exception as error:
            if not (tracking.is_away(error) or does_not_answer(error)):
                raise
            # It is shown when MLflow and storage are back. The client tries for minutes, and the sweep waits for it.
            self._next_note_at = time.monotonic() + AWAY_S
            return False
        ended = time.monotonic()
        self._next_note_at = ended + max(NOTE_EVERY_S, (ended - began) / SHARE)
        return True

    def write_files(
        self, table: str, status: str, searched: Callable[[pd.DataFrame, Path], list[Path]] | None = None
    ) -> None:
        """Write everything, print the table and the best configuration, and put the files on the parent run.

        searched: writes the further files of a search.
        """
        frame = self._frame()
        self._write_note(frame, status)
        if not len(frame):
            return
        with staged(self._start.settings.sweep_folder) as written:
            about, links = self._about(), self._links()
            grids = grids_of(frame, about, links, self._warning)
            files = write_tables(frame, written / table, self._warning, about, links, grids)
            maximised = () if searched is None else self._objectives
            guards = self._start.settings.guard
            files.append(write_rows(frame, table, maximised, written, self._start.sound, self._store.page, guards))
            files += self._write_page(frame, status, written, grids, final=True)
            files += [] if searched is None else searched(frame, written)
            if searched is None:
                console.print(files[1].read_text(encoding="utf-8"))
            else:  # hundreds of rows beside the paper's are for the files
                print_ranking(f"{self._name}: leaderboard", ranking_cells(self._ranking(frame)))
            for file in files:
                self._store.client.log_artifact(self._store.run_id, str(file))
        console.print(f"best: {best_line(self._ranking(frame), self._ranked_by(frame)[0], hash_labels(frame))}")

    def _distinct(self) -> list[Configuration]:
        left_out = excluded(self._start.settings.sweep_folder)
        found = dict.fromkeys(self._tried())
        return [c for c in found if config_hash(c) not in left_out] if left_out else list(found)

    def _frame(self) -> pd.DataFrame:
        """What is done, in the order in which it was asked for."""
        return result_frame(self._distinct(), self._ledger.results)

    def _ranked_by(self, frame: pd.DataFrame) -> tuple[str, ...]:
        return self._objectives if has_order(frame) or "zste/order" not in self._objectives else OLDER

    def _write_note(self, frame: pd.DataFrame, status: str) -> None:
        run_id, objectives = self._store.run_id, self._ranked_by(frame)
        note = sweep_note(self._name, status, frame, objectives, self._plan, self._command, self._guards)
        mlflow_page.write_note(self._store.client, run_id, note)
        if len(frame) not in (0, self._told):
            best = self._best(frame)
            seeds = frame.loc[frame["config_hash"] == best, "seed"]
            results = [self._ledger.results[best, seed] for seed in seeds]
            scores = {k: v for k, v in tracking.mean_metrics(results).items() if not k.startswith(BOUNDS)}
            label = hash_labels(frame)[best]
            mlflow_page.log_winner(self._store.client, run_id, label, scores, len(self._ledger.results))
            self._told = len(frame)

    def _ranking(self, frame: pd.DataFrame) -> pd.DataFrame:
        objectives = self._ranked_by(frame)
        return rank(frame, objectives[0], self._guards, objectives)

    def _best(self, frame: pd.DataFrame) -> str:
        """Hash of the first configuration of the ranking."""
        return str(self._ranking(frame)["config_hash"].iloc[0])

    def _look_behind(self, frame: pd.DataFrame) -> Behind:
        best = self._best(frame)
        seeds = tuple(frame.loc[frame["config_hash"] == best, "seed"])
        if (best, seeds) not in self._behind:
            dataset, folder = read_index(self._start.data), self._ledger.folder
            self._behind = {(best, seeds): look_behind(folder, best, seeds, hash_labels(frame)[best], dataset)}
        return self._behind[best, seeds]

    def _write_page(
        self, frame: pd.DataFrame, status: str, folder: Path, grids: Sequence[Grid] = (), final: bool = False
    ) -> list[Path]:
        """Write the report; if it is the last one, with losses, and with the plots of order as a picture for MLflow."""
        page = Page(
            self._name,
            frame,
            self._ranked_by(frame),
            self._about(),
            status=status,
            command=self._command,
            warning=self._warning,
            guards=self._guards,
            vary_draws=self._start.settings.vary_draws,
            links=self._links(),
            grids=grids,
            history=self._history(frame, losses=final),
            behind=self._look_behind(frame),
        )
        written = [write_page(page, folder / REPORT)]
        if not final:
            return written
        order = write_order_picture(frame, hash_labels(frame), page.behind.by_pair, folder / ORDER)
        return [*written, order] if order else written

    def _history(self, frame: pd.DataFrame, losses: bool) -> pd.DataFrame | None:
        """Scores by step of what is done, if they were asked for; losses: also those, of the best configurations."""
        curves = {
            key: [(step, {name: values[name] for name in SHOWN if name in values}) for step, values in r.curve.items()]
            for key, r in self._ledger.results.items()
        }
        best = set(self._ranking(frame)["config_hash"][:MOST_CURVES]) if losses else set()
        for (name, seed), result in self._ledger.results.items():
            if name in best and result.run_id:
                curves[name, seed] += read_history(self._store.client, result.run_id, [LOSS])
        history = history_frame(curves)
        return history if len(history) else None

    def _about(self) -> About:
        scores = (result.scores for result in self._ledger.results.values())
        return about_scores(self._distinct(), scores, self._start.sound)

    def _links(self) -> Mapping[tuple[str, int], str]:
        """(config_hash, seed) -> address of its run."""
        page, experiment_id = self._store.page, self._store.experiment_id
        return {
            key: mlflow_page.run_link(page, experiment_id, result.run_id)
            for key, result in self._ledger.results.items()
            if result.run_id
        }
