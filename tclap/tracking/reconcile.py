"""MLflow's runs against what is really done: afterwards that is FINISHED, nothing is RUNNING, and no run is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from pydantic import ValidationError

from tclap.axes import Axis, label
from tclap.config import Configuration, config_hash, from_record
from tclap.errors import InputError
from tclap.places import fetched, seed_folder_of
from tclap.sweep.ledger import Ledger, Result, read_details, write_result
from tclap.tracking import runs as tracking
from tclap.tracking.read import nested
from tclap.tracking.relog import configuration_of, relog

Identity = tuple[str, int]  # config_hash and seed
PARENT = "mlflow.parentRunId"
MOST_LOOKED_AT = 1000  # results of which each one's run is looked at
VARYING = "varying"  # tag of a parent run: the axes that its children's names tell


def reconcile(client: MlflowClient, experiment_id: str, sweep: str, ledger: Ledger, parent_id: str) -> list[str]:
    """End what the dead left RUNNING in the sweep's child runs as KILLED; a retry sets it RUNNING again.

    Call it while no trial runs. Of two runs for one configuration and seed (MLflow answered a request after the
    client had given up on it and asked again) the one of the result stays, else the older one. A result whose run was
    deleted, or is in another store, is logged again from its checkpoint, and runs of a parent that was deleted become
    those of `parent_id`. Returns what of this a user should know, line by line.
    """
    done = ledger.results
    found, trusted = _runs_to_look_at(client, experiment_id, sweep, done, parent_id)
    by_identity: defaultdict[Identity, list[Run]] = defaultdict(list)
    for run in found:
        tags = run.data.tags
        if tags.get("kind") != tracking.KIND_SWEEP:
            by_identity[tags["config_hash"], int(tags["seed"])].append(run)
    logged = {identity: run_id for identity, run_id in trusted.items() if identity not in by_identity}
    for identity, runs in by_identity.items():
        result, own = done.get(identity), trusted.get(identity)
        kept = next((run for run in runs if result is not None and run.info.run_id == result.run_id), None)
        if kept is None and own is None:
            kept = runs[0]
        for run in runs:
            if run is not kept:
                client.delete_run(run.info.run_id)
        if kept is None:
            logged[identity] = str(own)
            continue
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


def _runs_to_look_at(
    client: MlflowClient, experiment_id: str, sweep: str, done: Mapping[Identity, Result], parent_id: str
) -> tuple[list[Run], dict[Identity, str]]:
    """The sweep's runs that may need mending, and the run id of each result whose run is whole without a look.

    Of a sweep with few results these are all of its runs. MLflow reads some 300 runs a second, so of a large one they
    are those that did not finish, and a result is believed to be in MLflow if its run was not deleted: a result is
    written after its run. If the store or the parent run is another one, it is all of them again.
    """
    mine = {"sweep": sweep}
    if len(done) <= MOST_LOOKED_AT or not _is_child(client, next(iter(done.values())).run_id, parent_id):
        return tracking.find_runs(client, experiment_id, mine), {}
    deleted = tracking.find_runs(client, experiment_id, mine, view=ViewType.DELETED_ONLY)
    gone = {run.info.run_id for run in deleted}
    whole = {identity: r.run_id for identity, r in done.items() if r.run_id is not None and r.run_id not in gone}
    unfinished = tracking.find_runs(client, experiment_id, mine, "attributes.status != 'FINISHED'")
    return unfinished, whole


def _is_child(client: MlflowClient, run_id: str | None, parent_id: str) -> bool:
    """Whether MLflow has the run and it is one of the parent's."""
    try:
        run = client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return False
    return run is not None and run.data.tags.get(PARENT) == parent_id


def rename(client: MlflowClient, experiment_id: str, sweep: str, parent_id: str, varying: Sequence[Axis]) -> None:
    """Name the runs of a sweep by everything that varies in it now, if that is not what varied the last time.

    Nothing else of them changes, and a name that somebody else gave stays.
    """
    names = ",".join(axis.name for axis in varying)
    if client.get_run(parent_id).data.tags.get(VARYING) == names:
        return
    for run in tracking.find_runs(client, experiment_id, {"sweep": sweep, "kind": tracking.KIND_TRIAL}):
        try:
            configuration = from_record(nested(run.data.params))
        except ValidationError:
            continue  # of a version whose parameters are not ours
        plain, end = label(configuration), f"  seed {run.data.tags['seed']}"
        named, wanted = run.data.tags.get("mlflow.runName", ""), f"{label(configuration, varying)}{end}"
        if named != wanted and named.startswith(plain) and named.endswith(end):
            client.set_tag(run.info.run_id, "mlflow.runName", wanted)
    client.set_tag(parent_id, VARYING, names)


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
        details = read_details(place)
        with fetched(place / "checkpoint") as saved:
            run_id = relog(client, experiment_id, sweep, parent_id, configuration, result, saved, shared, details)
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
