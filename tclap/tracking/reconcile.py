"""MLflow runs against what is really done: afterwards that is FINISHED, no run is RUNNING, and none is there twice."""

from __future__ import annotations

from collections import defaultdict

from mlflow import MlflowClient
from mlflow.entities import Run

from tclap.sweep.ledger import Ledger
from tclap.tracking import runs as tracking


def reconcile(client: MlflowClient, experiment_id: str, sweep: str, ledger: Ledger) -> None:
    """End what the dead left RUNNING in the sweep's child runs as KILLED; a retry sets it RUNNING again.

    Call it while no trial runs. Of two runs for one configuration and seed (MLflow answered a request after the
    client had given up on it and asked again) the one of the result stays, else the older one.
    """
    by_identity: defaultdict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in tracking.find_runs(client, experiment_id, {"sweep": sweep}):
        tags = run.data.tags
        if tags.get("kind") != tracking.KIND_SWEEP:
            by_identity[tags["config_hash"], int(tags["seed"])].append(run)
    for (name, seed), runs in by_identity.items():
        result = ledger.results.get((name, seed))
        kept = next((run for run in runs if result is not None and run.info.run_id == result.run_id), runs[0])
        for run in runs:
            if run is not kept:
                client.delete_run(run.info.run_id)
        if result is not None and kept.info.status != "FINISHED":
            client.set_terminated(kept.info.run_id, "FINISHED")  # it ended while an earlier look took it for dead
        elif result is None and kept.info.status == "RUNNING":
            client.set_terminated(kept.info.run_id, "KILLED")
