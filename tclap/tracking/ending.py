"""A run whose end nobody reaches does not stay RUNNING."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient

from tclap.tracking.uri import is_away


@contextmanager
def ended_if_broken_off(client: MlflowClient, run_id: str) -> Iterator[None]:
    """In the block the run is RUNNING; Ctrl-C leaves it KILLED and an error FAILED, unless MLflow is away."""
    try:
        yield
    except KeyboardInterrupt:
        client.set_terminated(run_id, "KILLED")
        raise
    except Exception as error:
        if not is_away(error):
            client.set_terminated(run_id, "FAILED")
        raise
