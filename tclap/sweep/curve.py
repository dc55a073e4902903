"""Scores by training step of one configuration and seed, and which of its steps was the best."""

from __future__ import annotations

Curve = dict[int, dict[str, float]]  # steps done of the stage -> metrics by their MLflow names
SHOWN = ("zste/3A_order", "zste/order", "zste/temporal", "zste/1")  # whose best step is told, and whose curve is drawn


def is_scored(step: int, every: int) -> bool:
    """Whether the suite is scored after so many steps, in the middle of a stage; 0 is never."""
    return every > 0 and step % every == 0


def best_metrics(curve: Curve) -> dict[str, float]:
    """best/NAME and best_step/NAME for each of SHOWN: the highest value of the curve, and the first step that has it.

    The best of many steps is chosen by the scores that it is told with, so it is too good by chance; tables show the
    last.
    """
    metrics: dict[str, float] = {}
    for name in SHOWN:
        values = {step: point[name] for step, point in sorted(curve.items()) if name in point}
        if values:
            best = max(values, key=values.__getitem__)
            metrics |= {f"best/{name}": values[best], f"best_step/{name}": float(best)}
    return metrics
