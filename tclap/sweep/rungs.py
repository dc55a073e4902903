"""What each trial scored at each rung, and whether it went on: `STORAGE/NAME/rungs/<number>/<config_hash>.json`.

A file for each, written once: lanes of any node see one another's, and a trial that was killed after its answer gets
the same one again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from tclap.places import Place, write_atomically
from tclap.sweep.ledger import Result
from tclap.sweep.stopping import goes_on, rung_of


class Rungs:
    """The rungs of the sweep in `folder`; what was read is kept, since it never changes."""

    def __init__(self, folder: Place) -> None:
        self._folder = folder / "rungs"
        self._known: dict[int, dict[str, tuple[dict[str, float], bool]]] = {}

    def judge(self, rung: int, name: str, values: Mapping[str, float], objectives: Sequence[str]) -> bool:
        """Whether the trial `name`, with these metrics at the rung, goes on; it is recorded there."""
        known = self._read(rung)
        if name not in known:
            comparable = [metrics for metrics, _ in known.values() if metrics.keys() >= set(objectives)]
            others = [[metrics[name] for name in objectives] for metrics in comparable]
            self.record(rung, name, values, goes_on([values[name] for name in objectives], others))
        return known[name][1]

    def record(self, rung: int, name: str, values: Mapping[str, float], went_on: bool) -> None:
        """Note what a trial had at a rung, unless it is noted."""
        known = self._read(rung)
        if name not in known:
            write_atomically(self._folder / str(rung) / f"{name}.json", json.dumps([dict(values), went_on]))
            known[name] = dict(values), went_on

    def record_curves(self, results: Iterable[Result], steps: Mapping[str, int]) -> None:
        """Note what was scored at rungs before trials were stopped early: such trials went on, and count.

        steps: config_hash -> how many its trial has; other results are no trials.
        """
        for result in results:
            for step, values in result.curve.items() if result.config_hash in steps else ():
                rung = rung_of(step, steps[result.config_hash])
                if rung is not None and step != result.stopped_at:
                    self.record(rung, result.config_hash, values, True)

    def _read(self, rung: int) -> dict[str, tuple[dict[str, float], bool]]:
        known = self._known.setdefault(rung, {})
        if (self._folder / str(rung)).exists():
            files: list[Place] = list((self._folder / str(rung)).iterdir())
            for file in sorted(files, key=str):
                if file.suffix == ".json" and not file.name.startswith(".") and file.stem not in known:
                    metrics, went_on = json.loads(file.read_text(encoding="utf-8"))
                    known[file.stem] = metrics, went_on
        return known
