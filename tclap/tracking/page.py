"""What MLflow shows at first sight: a sweep's leaderboard behind a link, the notes of its runs, checkpoints as models.

Everything here may be called again (by a retry, by a resumed sweep) and changes nothing then.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, RunTag

from tclap.axes import Axis
from tclap.config import canonical_hash

KIND_TAG, TRAINING = "mlflow.experimentKind", "custom_model_development"
VIEW_TAG = "mlflow.sharedViewState."
NOTE_TAG = "mlflow.note.content"
EXCLUDED_TAG = "excluded"  # of a run that stays out of rankings and tables; says why
MOST_NOTE = 8000  # characters that MLflow takes in a tag
CUT = "\n\n… (longer than MLflow shows; the whole table is among the artifacts)\n"


def set_up_experiment(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    objective: str,
    columns: Sequence[str],
    some_excluded: bool = False,
) -> str:
    """Make a view of the sweep's trials, sorted by `objective`, best first; returns the end of its link.

    columns: what it shows, in order: metrics (such as "zste/1") and parameters ("coefficients.alpha_st"; see
    `leaderboard_columns`). The link is the returned text behind the address of MLflow's page and a "/". It stays the
    same for the same name, and a later call replaces what it shows. some_excluded: leave out runs with EXCLUDED_TAG.
    """
    shown = [f"{'metrics' if '/' in column else 'params'}.`{column}`" for column in columns]
    # By their ids in MLflow's table: the box to tick, the name wide enough for a label with its seed, and the age.
    widths = {"1": 50, "attributes.`Run Name`": 330, "runDateAndNestInfo": 130}
    widths |= {column: max(110, 50 + 6 * len(column.partition(".")[2])) for column in shown}
    state = {
        "searchFilter": _filter(name, some_excluded),
        "orderByKey": f"metrics.`{objective}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": ["attributes.`Created`", *shown],
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": None,
        "viewMaximized": False,
        "runListHidden": False,
    }
    # Without a kind, MLflow opens the page for generative models, which is empty.
    client.set_experiment_tag(experiment_id, KIND_TAG, TRAINING)
    client.set_experiment_tag(experiment_id, f"{VIEW_TAG}{_key(name)}", json.dumps(state))
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={_key(name)}&workflowType=machine_learning"


def leave_out_excluded(client: MlflowClient, experiment_id: str, name: str, some_excluded: bool) -> None:
    """Have the sweep's view, if it has one, leave out what is excluded, or nothing if nothing is."""
    tag = f"{VIEW_TAG}{_key(name)}"
    state = client.get_experiment(experiment_id).tags.get(tag)
    if state is not None:
        changed = json.loads(state) | {"searchFilter": _filter(name, some_excluded)}
        client.set_experiment_tag(experiment_id, tag, json.dumps(changed))


def _key(name: str) -> str:
    return canonical_hash(["leaderboard", name])


def _filter(name: str, some_excluded: bool) -> str:
    return f"tags.sweep = '{name}' and tags.kind = 'trial'" + f" and tags.{EXCLUDED_TAG} IS NULL" * some_excluded


def leaderboard_columns(objectives: Sequence[str], axes: Sequence[Axis]) -> list[str]:
    """Columns for `set_up_experiment`: the objectives, then the parameters of `axes` (of both stages: stage B's)."""
    return [*objectives, *(axis.paths[-1] for axis in axes), "seed"]


def write_note(client: MlflowClient, run_id: str, markdown: str) -> None:
    """Put `markdown` on top of a run's page, cut at a line if it is longer than MLflow takes."""
    if len(markdown) > MOST_NOTE:
        markdown = markdown[: MOST_NOTE - len(CUT)].rpartition("\n")[0] + CUT
    client.set_tag(run_id, NOTE_TAG, markdown)


def extend_note(client: MlflowClient, run_id: str, markdown: str) -> None:
    """Put `markdown` under the first paragraph of a run's note, in place of what stands there."""
    first = client.get_run(run_id).data.tags.get(NOTE_TAG, "").partition("\n\n")[0]
    write_note(client, run_id, f"{first}\n\n{markdown}" if first else markdown)


def log_checkpoint_model(
    client: MlflowClient,
    run_id: str,
    metrics: Mapping[str, float],
    step: int,
    timestamp_ms: int,
    parameters: Mapping[str, str] | None = None,
    run_tags: Mapping[str, str] | None = None,
) -> str:
    """Log `metrics` of a run at `step` as those of its checkpoint, a LoggedModel; returns the model's id.

    The checkpoint stays the run's artifact, which the model names in its tag `checkpoint`: it is not stored twice. A
    run has one such model for each step. run_tags: set on the run together with the metrics.
    """
    experiment_id = client.get_run(run_id).info.experiment_id
    name = f"checkpoint-step-{step}"
    found = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}' AND name = '{name}'")
    if found:
        model_id: str = found[0].model_id
    else:
        tags = {"checkpoint": f"runs:/{run_id}/checkpoint", "step": str(step)}
        model = client.create_logged_model(
            experiment_id, name=name, source_run_id=run_id, tags=tags, params=dict(parameters or {})
        )
        model_id = model.model_id
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])
    entries = [Metric(key, value, timestamp_ms, step, model_id=model_id) for key, value in metrics.items()]
    client.log_batch(run_id, metrics=entries, tags=[RunTag(key, value) for key, value in (run_tags or {}).items()])
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    return model_id


def log_winner(
    client: MlflowClient, parent_run_id: str, run_name: str, metrics: Mapping[str, float], step: int
) -> None:
    """Give a sweep's parent run the scores of its best configuration so far (means over seeds), and its name.

    step: how many results there are, those that are excluded by now among them, so that the parent's metrics show how
    the best one grew, and the last one told is the one that MLflow shows.
    """
    now_ms = int(time.time() * 1000)
    client.log_batch(
        parent_run_id,
        metrics=[Metric(key, value, now_ms, step) for key, value in metrics.items()],
        tags=[RunTag("best", run_name)],
    )


def run_link(page: str, experiment_id: str, run_id: str) -> str:
    """Address of a run on MLflow's page."""
    return f"{page.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
