"""Scores and losses of runs by step, read back from MLflow: what curves are drawn from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mlflow import MlflowClient


def read_history(client: MlflowClient, run_id: str, names: Sequence[str]) -> list[tuple[int, dict[str, float]]]:
    """(step, the metrics of `names` that were logged at it) of a run, in the order of the steps.

    Of several values of one metric at one step, the last one logged counts. Metrics that the run does not have are
    left out.
    """
    steps: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for name in names:
        for metric in sorted(client.get_metric_history(run_id, name), key=lambda metric: metric.timestamp):
            steps[metric.step][name] = metric.value
    return sorted(steps.items())
