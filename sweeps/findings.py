"""The study of docs/findings.md: what teaches order, on synthetic and on real sound, from an empty storage.

python sweeps/findings.py --data data/esc50 --dry-run               # what would run, with its commands
python sweeps/findings.py --data data/esc50                         # everything, and docs/findings.md at the end
python sweeps/findings.py --part row-o,timing                       # the synthetic parts alone
python sweeps/findings.py --part esc50 --batch-sizes 64 --hours 2 --data data/esc50
python sweeps/findings.py --render --data data/esc50                # the page again, from whatever has ended
python sweeps/findings.py --go-on --hours 2 --data data/esc50       # on another machine: what docs/findings.csv lacks

Each line of the plan is a sweep of sweeps/table4.py with a name of its own, so it resumes as every sweep does, and the
same command again runs what is left. Seeds and folds of ESC-50 go in turn: seed 0 is scored on the first of --folds,
seed 1 on the second, so three seeds are three folds. Each fold with each seed would cost three times as much, and its
intervals would still rest on three folds. On two quiet cores all of it takes an estimated 7 hours; --dry-run lists it.

Every number is kept beside the page, in docs/findings.csv, and the page is made from that file: of the whole study,
whichever part of it ran. A sweep that is run again is compared with it, digit by digit. With --out, the page is of what
was asked for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import table4
from pydantic import Field

from tclap.config import Configuration, config_hash, with_seed
from tclap.console import console, parse, run_or_exit
from tclap.data.layouts import read_index
from tclap.data.synth import default_dataset
from tclap.environment import ScriptSettings
from tclap.errors import InputError
from tclap.evaluation.zste import metric_values
from tclap.experiment import Workspace, base_of, evaluate, open_workspace
from tclap.flags import OnceEach, SweepSettings
from tclap.places import Place, UserPath, cache_folder, write_atomically
from tclap.report.findings import put_between_marks
from tclap.report.findings_data import HASH, SWEEP, of_plan, read_study, unequal, updated, write_study
from tclap.report.findings_page import ESC50, SYNTHETIC, UNSEEN, Line, page_of, study_frame
from tclap.sweep.ledger import read_ledger
from tclap.sweep.plan import make_plan
from tclap.training import checkpoint

Part = Literal["row-o", "timing", "esc50", "midpoint", "unseen"]
REAL: tuple[Part, ...] = ("esc50", "midpoint", "unseen")
PARTS: tuple[Part, ...] = ("row-o", "timing", *REAL)


class FindingsSettings(ScriptSettings):
    """Run the study of docs/findings.md, or parts of it, and write its tables from what has ended."""

    part: OnceEach[Part] = Field(PARTS, description="which parts, comma-separated")
    data: UserPath | None = Field(None, description="ESC-50, for the parts esc50, midpoint and unseen")
    folds: OnceEach[int] = Field(
        (2, 3, 4, 1), description="evaluation folds of ESC-50, one for each seed, in turn; the one after it is kept"
    )
    seeds: OnceEach[int] = Field((0, 1, 2), description="seeds: each draws base, composites and batches anew")
    batch_sizes: OnceEach[int] = Field((64, 32, 128), description="of ESC-50, the most telling first")
    takes: int = Field(6, ge=1, description="composites of each pair of classes, of ESC-50")
    steps_a: int = Field(300, ge=1, description="steps of stage A, of ESC-50")
    steps_b: int = Field(1200, ge=1, description="steps of stage B, of ESC-50; B alone takes those of A as well")
    base_steps: int = Field(800, ge=1, description="steps of mini's base, of ESC-50")
    quick: bool = Field(False, description="a few steps of everything, under names of their own: does it run?")
    storage: UserPath = Field(Path("runs"), description="folder of the sweeps")
    hours: float | None = Field(None, gt=0, description="begin no further sweep after so many hours")
    out: UserPath | None = Field(
        None,
        description="the page whose generated part is written: docs/findings.md; its numbers go to a csv beside it",
    )
    render: bool = Field(False, description="run nothing: write the page from what has ended")
    go_on: bool = Field(False, description="run only what the csv beside the page lacks, whatever the storage holds")
    dry_run: bool = Field(False, description="print the commands, and what of each is done")

    @property
    def prefix(self) -> str:
        return "findings-quick" if self.quick else "findings"

    @property
    def page(self) -> Path:
        return self.out or (self.storage / "findings-quick.md" if self.quick else Path("docs/findings.md"))

    @property
    def csv(self) -> Path:
        return self.page.with_suffix(".csv")


@dataclass(frozen=True)
class Unit:
    """One sweep of the study, with the flags of sweeps/table4.py."""

    part: Part
    fold: int
    flags: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.flags["name"])

    def command(self) -> list[str]:
        words = [sys.executable, str(Path(__file__).with_name("table4.py"))]
        for name, value in self.flags.items():
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            flag = f"--{name.replace('_', '-')}"
            words += ([flag] if value else []) if isinstance(value, bool) else [flag, text]
        return words

    def settings(self) -> SweepSettings:
        return SweepSettings(**self.flags)

    def configurations(self) -> list[Configuration]:
        return table4.configurations(self.settings())

    def hashes(self) -> set[str]:
        return {config_hash(configuration) for configuration in self.configurations()}


def to_run(settings: FindingsSettings) -> list[Unit]:
    """The sweeps of the chosen parts. Raises InputError if they need data that is not given or lacks a fold."""
    if settings.data is None and (wanted := [part for part in REAL if part in settings.part]):
        if set(settings.part) != set(PARTS):
            raise InputError(f"the parts {', '.join(wanted)} need ESC-50: --data")
        console.print("without --data: no ESC-50, so the parts esc50, midpoint and unseen are left out", style="yellow")
        settings = settings.model_copy(update={"part": tuple(part for part in PARTS if part not in REAL)})
    return list(units(settings))


def whole_study(settings: FindingsSettings) -> list[Unit]:
    """The sweeps of every part, fold, seed and batch size, whichever are run now."""
    fields = ("part", "folds", "seeds", "batch_sizes")
    return list(
        units(settings.model_copy(update={name: FindingsSettings.model_fields[name].default for name in fields}))
    )


def units(settings: FindingsSettings) -> Iterator[Unit]:
    """The sweeps of the chosen parts, in the order in which they are run: batch sizes outside, so that a study that is
    broken off has all of its folds. Without data, ESC-50 is taken to have the chosen folds."""
    common = {"storage": settings.storage, "vary_draws": True}
    quick = {"steps_a": 3, "steps_b": 4, "takes": 2, "base_steps": 5} if settings.quick else {}

    def synthetic(part: Part, seed: int, timing: str, row_o: str) -> Unit:
        name = f"{settings.prefix}-synthetic-{timing}-{row_o}-seed{seed}"
        steps = {"steps_b": 300}  # the default when the study began
        flags = {"name": name, **common, "timing": timing, "row_o": row_o, **steps, "seeds": (seed,), **quick}
        return Unit(part, 4, flags)

    for seed in settings.seeds:
        if "row-o" in settings.part or "timing" in settings.part:
            yield synthetic("timing", seed, "drawn", "printed")
        if "row-o" in settings.part:
            yield synthetic("row-o", seed, "drawn", "alpha")
        if "timing" in settings.part:
            yield synthetic("timing", seed, "midpoint", "printed")
    wanted = [part for part in REAL if part in settings.part]
    if not wanted:
        return
    known = sorted(set(settings.folds if settings.data is None else read_index(settings.data).folds.tolist()))
    missing = sorted(set(settings.folds) - set(known))
    if missing:
        raise InputError(f"{settings.data} has no fold {missing[0]}; its folds are {', '.join(map(str, known))}")
    long = {name: getattr(settings, name) for name in ("takes", "steps_a", "steps_b", "base_steps")}
    for batch_size in settings.batch_sizes:
        for part in wanted:
            if part == "unseen" and batch_size != settings.batch_sizes[0]:
                continue
            for seed in settings.seeds:
                fold = settings.folds[seed % len(settings.folds)]
                kept = known[(known.index(fold) + 1) % len(known)]  # for whoever runs `tclap best`
                flags = {
                    "name": f"{settings.prefix}-{part}-fold{fold}-batch{batch_size}-seed{seed}",
                    **common,
                    "data": settings.data,
                    "train_folds": tuple(other for other in known if other not in (fold, kept)),
                    "eval_folds": (fold,),
                    "test_folds": (kept,),
                    **long,
                    "eval_takes": 1,
                    "match_steps": True,
                    "batch_sizes": (batch_size,),
                    "seeds": (seed,),
                    "allow_shared_recordings": True,
                    **({"timing": "midpoint"} if part == "midpoint" else {}),
                    **({"holdout_classes": 10} if part == "unseen" else {}),
                    **quick,
                }
                yield Unit(part, fold, flags)


def base_scores(sweep: Place, workspace: Workspace, configuration: Configuration, seed: int) -> dict[str, float]:
    """Metrics of the base that `seed` of `configuration` starts from, on its evaluation folds; kept in the sweep's
    folder."""
    kept = sweep / "base.json"
    if kept.exists():
        found: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    model = checkpoint.load(base_of(workspace, with_seed(configuration, seed)))
    values = metric_values(evaluate(workspace, configuration.data, model, configuration.data.eval_folds))
    write_atomically(kept, json.dumps(values))
    return values


def main() -> int:
    settings = parse(FindingsSettings)
    _forget_environment()
    planned = to_run(settings)
    shown = whole_study(settings) if settings.out is None and not settings.quick else planned
    kept = read_study(settings.csv)
    left = [unit for unit in planned if not (_is_kept(unit, kept) if settings.go_on else _is_done(unit, settings))]
    console.print(f"{len(planned)} sweeps, {len(planned) - len(left)} of them done")
    if settings.dry_run:
        for unit in planned:
            console.print(f"{'left' if unit in left else 'done'}  {' '.join(unit.command())}")
        return 0
    code = 0 if settings.render else _run(left, settings.hours)
    _render(settings, shown, kept)
    return code


def _forget_environment() -> None:
    """A sweep of the study is its flags, whatever TCLAP_DATA or TCLAP_TAKES say: those are this script's alone."""
    of_the_machine = {"workers", "use_gpu", "gpus_per_worker", "concurrent_trials", "cache", "chunk", "mlflow_page"}
    others = {f"TCLAP_{name}".upper() for name in SweepSettings.model_fields.keys() - of_the_machine}
    for name in [name for name in os.environ if name.upper() in others]:
        del os.environ[name]


def _is_done(unit: Unit, settings: FindingsSettings) -> bool:
    plan = make_plan(unit.configurations(), unit.flags["seeds"])
    return not plan.left(read_ledger(settings.storage / unit.name))


def _is_kept(unit: Unit, kept: pd.DataFrame) -> bool:
    return unit.hashes() <= set(of_plan(kept, {unit.name: unit.hashes()})[HASH])


def _run(left: list[Unit], hours: float | None) -> int:
    """Run what is left, one sweep after another; the exit code of the first that fails, which is the last."""
    began = time.monotonic()
    for number, unit in enumerate(left):
        if hours is not None and time.monotonic() - began > 3600 * hours:
            console.print(f"{hours:g} hours are over: {len(left) - number} sweeps are left", style="yellow")
            break
        console.print(f"\n{number + 1} of {len(left)}: {' '.join(unit.command())}")
        try:
            code = subprocess.run(unit.command(), check=False).returncode
        except KeyboardInterrupt:  # the sweep has got it, too, and has kept its state
            return 130
        if code:
            console.print(f"{unit.name} ended with {code}: the same command goes on with it", style="red")
            return code
    return 0


def _render(settings: FindingsSettings, planned: list[Unit], kept: pd.DataFrame) -> None:
    """Add what the storage holds to the csv, and make the page from the csv."""
    lines = list(_lines(settings, planned))
    fresh = study_frame(lines)
    again, changed = unequal(kept, fresh)
    frame = updated(kept, fresh)
    if len(fresh):
        write_study(settings.csv, frame)
    generated, ended = page_from(frame, planned)
    page = settings.page.read_text(encoding="utf-8") if settings.page.exists() else "# Findings\n"
    write_atomically(settings.page, put_between_marks(page, generated))
    spent_h = sum(result.train_s for line in lines for result in line.ledger.results.values()) / 3600
    done = f"{ended} of {len(planned)} sweeps have results"
    console.print(f"wrote {settings.page}: {done}, {spent_h:.1f} h of training in {settings.storage}")
    if again:
        console.print(f"{again} rows of the storage were in {settings.csv} before: ", end="")
        console.print(f"other numbers in {', '.join(changed)}" if changed else "equal in every digit")


def page_from(frame: pd.DataFrame, planned: list[Unit]) -> tuple[str, int]:
    """The generated part of the page, and how many of the planned sweeps have results in `frame`."""
    shown = of_plan(frame, {unit.name: unit.hashes() for unit in planned})
    ended = set(shown[SWEEP])
    missing = [unit.name for unit in planned if unit.name not in ended]
    partly = [unit.name for unit in planned if unit.name in ended and not _is_kept(unit, shown)]
    rotated = [unit.flags for unit in planned if unit.part in REAL]
    test_per_train = max((len(flags["eval_folds"]) / len(flags["train_folds"]) for flags in rotated), default=0.0)
    return page_of(shown, len(planned), missing, partly, test_per_train), len(ended)


def _lines(settings: FindingsSettings, planned: list[Unit]) -> Iterator[Line]:
    """The sweeps that the storage holds results of."""
    workspaces: dict[Path, Workspace] = {}
    for unit in planned:
        if unit.part in REAL and settings.data is None:
            continue  # nothing of it can have run now, and the base of what ran before is scored on its clips
        ledger = read_ledger(settings.storage / unit.name)
        (seed,), configurations = unit.flags["seeds"], unit.configurations()
        if not any(ledger.get(configuration, seed) for configuration in configurations):
            continue  # a run of stage A alone says nothing yet
        data = unit.flags.get("data") or default_dataset(settings.storage)
        if data not in workspaces:
            workspaces[data] = open_workspace(data, cache_folder(settings.storage))
        base = base_scores(settings.storage / unit.name, workspaces[data], configurations[0], seed)
        timing, row_o = unit.settings().timing, unit.settings().row_o
        kind = {"esc50": ESC50, "midpoint": ESC50, "unseen": UNSEEN}.get(unit.part, SYNTHETIC)
        yield Line(kind, unit.fold, timing, row_o, configurations, ledger, base, seed)


if __name__ == "__main__":
    run_or_exit(main)
