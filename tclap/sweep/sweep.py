"""`Sweep`: what every lane of a sweep needs to know; light to import, since it travels to every process."""

from __future__ import annotations

from dataclasses import dataclass

# Of a list, and of a search unless it names others: what is learned, and what was retained.
DEFAULT_OBJECTIVES = ("zste/order", "zste/1")


@dataclass(frozen=True)
class Sweep:
    """Plain values, fixed for one start of a sweep."""

    name: str
    folder: str  # a path or an s3:// URL
    data: str | None  # None: the dataset that lies at the origin
    dataset_digest: str
    cache: str
    origin: str | None  # with one, `cache` is on each node's own disk (tclap/cache.py)
    workers: int
    gpus_per_worker: float  # 0 trains on the CPU
    chunk: int | None
    retrieval: dict[str, tuple[str, str]]  # name -> (audio folder, caption file)
    allow_missing: bool  # of retrieval's clips
    tracking_uri: str
    experiment_id: str
    parent_run_id: str
    evaluate_every: int = 0  # steps of a stage from one scoring of the suite to the next; 0: only at its end
    stop_early: bool = False
    objectives: tuple[str, ...] = ()  # by which trials are compared for that
    guards: tuple[str, ...] = ()  # that stop a trial as well
    varying: tuple[str, ...] = ()  # names of the axes that its configurations differ in, for the names of runs

    @property
    def is_shared(self) -> bool:
        """Whether a worker shares its fate with others (its peers, or whoever is on its GPU): after an error of its own
        code the group is started anew, since a peer may be waiting for it, or the GPU be in an unknown state."""
        return self.workers > 1 or self.gpus_per_worker > 0
