"""Runs that stay in MLflow but out of rankings and tables: their tag says why."""

from __future__ import annotations

from collections.abc import Mapping

from mlflow import MlflowClient

from tclap.tracking import runs as tracking
from tclap.tracking.page import EXCLUDED_TAG, leave_out_excluded


def tag_excluded(client: MlflowClient, experiment_id: str, sweep: str, reasons: Mapping[str, str]) -> int:
    """Make the tags of a sweep's runs say what `reasons` (config_hash -> why) says, and its leaderboard in MLflow leave
    them out; returns how many runs changed."""
    changed = 0
    for run in tracking.find_runs(client, experiment_id, {"sweep": sweep, "kind": tracking.KIND_TRIAL}):
        before, why = run.data.tags.get(EXCLUDED_TAG), reasons.get(run.data.tags["config_hash"])
        if before == why:
            continue
        if why is None:
            with tracking.gone_is_well():
                client.delete_tag(run.info.run_id, EXCLUDED_TAG)
        else:
            client.set_tag(run.info.run_id, EXCLUDED_TAG, why)
        changed += 1
    leave_out_excluded(client, experiment_id, sweep, bool(reasons))
    return changed
