"""The flags of looking at trials while they train, and of stopping them: part of every sweep's command line."""

from __future__ import annotations

from pydantic import BaseModel, Field, field_validator

from tclap.sweep.stopping import Guard, parse_guard


class StoppingFlags(BaseModel):
    """None changes a number of what is trained to its end, so none is part of what a sweep's name stands for."""

    evaluate_every: int = Field(0, ge=0, description="also score every so many steps of a stage; 0: only at its end")
    stop_early: bool = Field(False, description="stop trials that are not among the best third at a rung")
    guard: tuple[str, ...] = Field(
        (), description='what must hold besides, such as "zste/1>=70"; with --stop-early it stops a trial; repeatable'
    )

    @field_validator("guard")
    @classmethod
    def _guards_are_of_scores_with_an_interval(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        from tclap.evaluation.zste import SCORED  # slow to import, and rarely needed

        for text in texts:
            if parse_guard(text).metric not in SCORED:
                raise ValueError(f"guard {text}: only scores with an interval can guard: {', '.join(SCORED)}")
        return texts

    def guards(self) -> list[Guard]:
        return [parse_guard(text) for text in self.guard]
