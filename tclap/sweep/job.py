"""A job: one configuration with its seeds, handed to a lane as a whole; one trial of Ray Tune."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from tclap.config import Configuration, config_hash

DONE, FAILED, STOPPED = "done", "failed", "stopped"  # how a job may end


@dataclass(frozen=True)
class Job:
    """Train and score `configuration` for each of `seeds` that is not done yet.

    prepares: only make what jobs share (base model, features), not train; every lane may take part in the same one.
    """

    configuration: Configuration
    seeds: tuple[int, ...]
    prepares: bool = False

    @cached_property
    def hash(self) -> str:
        return config_hash(self.configuration)

    @cached_property
    def parent(self) -> str | None:
        """The hash of the job whose checkpoints this one starts from; None starts from the base model."""
        parent = self.configuration.parent
        return None if parent is None else config_hash(parent)

    def to_json(self) -> str:
        values = {"configuration": self.configuration.model_dump(mode="json"), "seeds": self.seeds}
        return json.dumps({**values, "prepares": self.prepares})

    @classmethod
    def from_json(cls, text: str) -> Job:
        values = json.loads(text)
        return cls(Configuration(**values["configuration"]), tuple(values["seeds"]), values["prepares"])
