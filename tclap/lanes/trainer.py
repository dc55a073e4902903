"""Ray Train's trainer without the processes that a lane has no use for: each imports for a second or two."""

from __future__ import annotations

from ray.train.torch import TorchTrainer

# By name, since the classes are Train's own.
UNUSED = (
    "DatasetsCallback",  # starts a process for Ray Data's datasets, of which there are none
    # Starts a process that frees what a killed controller reserved, and asks Ray's state API every second for as long
    # as the lane lives; `leftovers.py` does it after a loss.
    "PlacementGroupCleanerCallback",
    "ControllerMetricsCallback",  # Prometheus metrics of single steps
    "WorkerMetricsCallback",
)


class LaneTrainer(TorchTrainer):
    """A `TorchTrainer` whose group is one controller, one synchronisation actor and the workers."""

    def _create_default_callbacks(self) -> list[object]:
        return [c for c in super()._create_default_callbacks() if type(c).__name__ not in UNUSED]
