"""`tclap compare`: two sweeps, configuration by configuration, from MLflow alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg
from rich.table import Table

from tclap.console import NARROW, console
from tclap.errors import InputError
from tclap.places import UserPath
from tclap.report.comparison import compare
from tclap.report.grid import spread


class Compare(BaseModel):
    """Compare two sweeps: each configuration that both have, paired over the seeds that both have."""

    first: CliPositionalArg[str] = Field(description="a sweep's --name")
    second: CliPositionalArg[str] = Field(description="another one's")
    metric: str = Field("zste/order", description="what is compared, by its MLflow name")
    storage: UserPath = Field(
        Path("runs"), description="the sweeps' --storage; MLFLOW_TRACKING_URI beats its MLflow store"
    )

    def cli_cmd(self) -> None:
        from tclap.tracking.read import existing_store, read_sweep

        client, experiment_id, _ = existing_store(self.storage)
        sweeps = [read_sweep(client, experiment_id, name) for name in (self.first, self.second)]
        known = sorted(set.union(*(set(trial.metrics) for sweep in sweeps for trial in sweep.trials)))
        if self.metric not in known:
            shown = [name for name in known if name.startswith(("zste/", "order/", "retrieval/"))]
            raise InputError(f"unknown metric {self.metric!r}; these sweeps have {', '.join(shown)}")
        # What was stopped early has the scores of an earlier step.
        ended = [[trial for trial in sweep.trials if trial.stopped_at is None] for sweep in sweeps]
        one, other = ([(t.configuration, t.seed, t.metrics) for t in trials] for trials in ended)
        stopped = sum(len(sweep.trials) - len(trials) for sweep, trials in zip(sweeps, ended, strict=True))
        found = compare(one, other, self.metric)
        title = f"{self.second} less {self.first}: {self.metric}, percent, over the same seeds"
        table = Table(
            *("configuration", "seeds", self.first, self.second, "difference", "95% interval", "p (Holm)"),
            title=title,
            **NARROW,
        )
        for row in found.rows.to_dict("records"):
            interval = "n/a" if np.isnan(row["low"]) else f"{row['low']:+.1f} to {row['high']:+.1f}"
            p = "n/a" if np.isnan(row["p"]) else f"{row['p']:.3g}"
            scores = (f"{row['first']:.1f}", f"{row['second']:.1f}", f"{row['difference']:+.1f}")
            table.add_row(str(row["configuration"]), str(row["seeds"]), *scores, interval, p)
        console.print(table)
        if stopped:
            console.print(f"{stopped} run{'s' * (stopped > 1)} stopped early: left out")
        digests = [sweep.tags.get("dataset_digest", "unknown")[:12] for sweep in sweeps]
        apart = [*found.differences, *([f"dataset: {', '.join(digests)}"] if digests[0] != digests[1] else [])]
        console.print(f"they differ in {'; '.join(apart)}" if apart else "no setting differs between them")
        for name, count in zip((self.first, self.second), found.alone, strict=True):
            if count:
                console.print(f"only {name} has {count} configuration{'s' * (count > 1)} more")
        if found.rows["seeds"].max() < 2:
            console.print(
                "note: one seed in common, so nothing says how much of a difference is chance", style="yellow"
            )
        one_spread, other_spread = (spread(sweep.trials[0].configuration.vary_draws) for sweep in sweeps)
        if one_spread == other_spread:
            console.print(one_spread)
        else:
            console.print(f"{self.first}: {one_spread}\n{self.second}: {other_spread}")
