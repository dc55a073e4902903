"""What a plan will cost: optimiser steps, at the pace of what has run under this name, or beside it in the storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tclap.errors import InputError
from tclap.places import RESULT, Place, trials_folder
from tclap.sweep.claim import CLAIM, read_claim
from tclap.sweep.ledger import Ledger, Result, read_result

READ_AT_MOST = 30  # results of another sweep
FINISHED = "mean of {} finished runs"
PACE = ("model", "trainable")  # of a sweep's settings: what a step costs depends on these, and on the batch size


@dataclass(frozen=True)
class Price:
    """Seconds of one lane for an optimiser step, and where that was seen."""

    step_s: float
    seen: str  # "mean of 3 finished runs"

    def line(self, steps: int) -> str:
        """ "1200 optimiser steps, 4.2 min of one lane's training at 0.21 s a step (...)"."""
        training = f"{steps * self.step_s / 60:.1f} min of one lane's training"
        return f"{steps} optimiser steps, {training} at {self.step_s:.2f} s a step ({self.seen})"


def estimate_line(steps: int, price: Price | None) -> str:
    """What so many steps will cost, for people."""
    if not steps:
        return "estimate: nothing left to do"
    if price is None:
        unknown = "nothing has run under this name yet, nor with this model in this storage, that would tell their time"
        return f"estimate: {steps} optimiser steps; {unknown}"
    return f"estimate: {price.line(steps)}"


def price_of(results: Iterable[Result], seen: str) -> Price | None:
    """The mean pace of these results; `seen` has a place for their number. None if none of them was timed."""
    timed = [result for result in results if result.steps]  # not those that were killed while evaluating
    if not timed:
        return None
    return Price(sum(r.train_s for r in timed) / sum(r.steps for r in timed), seen.format(len(timed)))


def find_price(ledger: Ledger, settings: Mapping[str, Any]) -> Price | None:
    """The pace of what is done; if that is nothing, of the sweep beside it that is most like it; else None.

    settings: what the sweep's name stands for, such as `SweepSettings.identity` gives. A sweep beside it has the same
    model; one with the same batch sizes comes first, then the youngest.
    """
    own = price_of(ledger.results.values(), FINISHED)
    if own is not None:
        return own
    found = [place for place in ledger.folder.parent.glob(f"*/{CLAIM}") if place.parent.name != ledger.folder.name]
    alike = []
    for place in found:
        try:
            theirs = read_claim(place.parent) or {}
        except InputError:
            continue  # of another user, or damaged
        if all(theirs.get(name) == settings.get(name) for name in PACE):
            sizes = theirs.get("batch_sizes", [])
            alike.append((sizes == settings.get("batch_sizes"), place.stat().st_mtime, place.parent.name, sizes))
    for _, _, name, sizes in sorted(alike, reverse=True):
        batches = ", ".join(map(str, sizes))
        seen = f"mean of {{}} runs of the sweep {name}: the same model, batches of {batches}"
        price = price_of(_some_results(ledger.folder.parent / name), seen)
        if price is not None:
            return price
    return None


def _some_results(sweep: Place) -> list[Result]:
    files: list[Place] = sorted(trials_folder(sweep).glob(f"*/*/{RESULT}"), key=str)
    found = []
    for file in files[:READ_AT_MOST]:
        try:
            result = read_result(file.parent)
        except InputError:
            continue  # of another version
        found += [result] if result is not None else []
    return found
