"""MLflow's runs against what is really done: afterwards that is FINISHED, nothing is RUNNING, and no run is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from mlflow import MlflowClient
from mlflow.entities import Run

from tclap.config import Configuration, config_hash
from tclap.errors import InputError
from tclap.places import fetched, seed_folder_of
from tclap.sweep.ledger import Ledger, Result, write_result
from tclap.tracking import runs as tracking
from tclap.tracking.relog import configuration_of, relog

Identity = tuple[str, int]  # config_hash and seed
PARENT = "mlflow.parentRunId"


def reconcile(client: MlflowClient, experiment_id: str, sweep: str, ledger: Ledger, parent_id: str) -> list[str]:
    """End what the dead left RUNNING in the sweep's child runs as KILLED; a retry sets it RUNNING again.

    Call it while no trial runs. Of two runs for one configuration and seed (MLflow answered a request after the
    client had given up on it and asked again) the one of the result stays, else the older one. A result whose run was
    deleted, or is in another store, is logged again from its checkpoint, and runs of a parent that was deleted become
    those of `parent_id`. Returns what of this a user should know, line by line.
    """
    done = ledger.results
    by_identity: defaultdict[Identity, list[Run]] = defaultdict(list)
    for run in tracking.find_runs(client, experiment_id, {"sweep": sweep}):
        tags = run.data.tags
        if tags.get("kind") != tracking.KIND_SWEEP:
            by_identity[tags["config_hash"], int(tags["seed"])].append(run)
    logged: dict[Identity, str] = {}
    for identity, runs in by_identity.items():
        result = done.get(identity)
        kept = next((run for run in runs if result is not None and run.info.run_id == result.run_id), runs[0])
        for run in runs:
            if run is not kept:
                client.delete_run(run.info.run_id)
        if kept.data.tags.get(PARENT) != parent_id:
            client.set_tag(kept.info.run_id, PARENT, parent_id)
        if result is None:
            if kept.info.status == "RUNNING":
                client.set_terminated(kept.info.run_id, "KILLED")
            continue
        if kept.info.status != "FINISHED":  # it ended while an earlier look took it for dead
            client.set_terminated(kept.info.run_id, "FINISHED")
        if kept.data.tags.get("done") == "true":
            logged[identity] = kept.info.run_id
    missing = {identity: result for identity, result in done.items() if identity not in logged}
    return _log_again(client, experiment_id, sweep, ledger, parent_id, missing, logged) if missing else []


def _log_again(
    client: MlflowClient,
    experiment_id: str,
    sweep: str,
    ledger: Ledger,
    parent_id: str,
    missing: Mapping[Identity, Result],
    logged: dict[Identity, str],
) -> list[str]:
    known: dict[Identity, Configuration] = {}
    lines: list[str] = []
    for (name, seed), result in missing.items():
        place = seed_folder_of(ledger.folder, name, seed)
        try:
            with fetched(place / "checkpoint") as saved:
                known[name, seed] = configuration_of(saved, result)
        except (InputError, OSError) as error:
            lines.append(
                f"{place} is done, but not in MLflow, and cannot be logged again ({error}): delete it to rerun"
            )
    for (name, seed), configuration in sorted(known.items(), key=lambda item: item[1].stages):  # A before AB
        shared = None
        if configuration.parent is not None:
            shared = logged.get((config_hash(configuration.parent), seed))
        result = missing[name, seed]
        place = seed_folder_of(ledger.folder, name, seed)
        with fetched(place / "checkpoint") as saved:
            run_id = relog(client, experiment_id, sweep, parent_id, configuration, result, saved, shared)
        logged[name, seed] = run_id
        written = replace(result, run_id=run_id)
        write_result(place, written)
        ledger.add(written)
    if known:
        lines.append(
            f"{len(known)} finished run(s) that MLflow does not have were logged again from their results; "
            "their losses by step are gone"
        )
    return lines
