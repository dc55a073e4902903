"""What a sweep has left behind, read without the product's code: what is lost, doubled or out of order.

It knows the formats alone: MLflow's runs by their tags, `trials/HASH/seed-N/result.json`, and an Optuna study.
"""

import json
from collections import Counter

from mlflow.entities import ViewType
from optuna.trial import TrialState

FILES = {"checkpoint/model.safetensors", "checkpoint/config.json"}
LOSS = "train/loss"


def problems_of_runs(client, sweep, folder, steps):
    """A line for each thing wrong with the runs and results of `sweep`; steps: how many a run of each kind has."""
    experiment = client.get_experiment_by_name("tclap")
    query = f"tags.sweep = '{sweep}'"
    runs = client.search_runs([experiment.experiment_id], query, ViewType.ACTIVE_ONLY, max_results=5000)
    children = [run for run in runs if run.data.tags["kind"] != "sweep"]
    results = [json.loads(path.read_text()) for path in (folder / "trials").glob("*/*/result.json")]
    found = [f"{run.info.run_id} is {run.info.status}" for run in runs if run.info.status != "FINISHED"]
    if len(runs) - len(children) != 1:
        found.append(f"{len(runs) - len(children)} parent runs")
    logged = Counter((run.data.tags["config_hash"], int(run.data.tags["seed"])) for run in children)
    found += [f"{name} seed {seed} has {n} runs" for (name, seed), n in logged.items() if n > 1]
    of_result = {(result["config_hash"], result["seed"]): result["run_id"] for result in results}
    found += [f"{name} seed {seed} has a result and no run" for name, seed in of_result.keys() - logged.keys()]
    found += [f"{name} seed {seed} has a run and no result" for name, seed in logged.keys() - of_result.keys()]
    losses = {run.info.run_id: client.get_metric_history(run.info.run_id, LOSS) for run in children}
    for run in children:
        found += _problems_of_run(client, run, losses, of_result, steps)
    return sorted(found)


def _problems_of_run(client, run, losses, of_result, steps):
    run_id, tags = run.info.run_id, run.data.tags
    key = tags["config_hash"], int(tags["seed"])
    if of_result.get(key, run_id) != run_id:
        yield f"{run_id} is not the run that the result of {key[0]} seed {key[1]} names"
    if tags.get("done") != "true":
        yield f"{run_id} is not marked as done"
    if not any(name.startswith("zste/") for name in run.data.metrics):
        yield f"{run_id} has no scores"
    counted = Counter(metric.step for metric in losses[run_id])
    wanted = range(steps[tags["kind"]])
    yield from (f"{run_id} has {n} losses of step {step}" for step, n in sorted(counted.items()) if n > 1)
    missing = sorted(set(wanted) - counted.keys())
    if missing:
        yield f"{run_id} lacks the losses of {len(missing)} steps from {missing[0]} on"
    if counted.keys() - set(wanted):
        yield f"{run_id} has losses of step {max(counted)}, and {len(wanted)} steps"
    files = {file.path for file in client.list_artifacts(run_id, "checkpoint")}
    if files != FILES:
        yield f"{run_id} has {sorted(files)} as its checkpoint"
    parent = tags.get("stage_a_run")
    if parent is not None and losses.get(parent) and losses[run_id]:
        ended, began = (pick(m.timestamp for m in losses[of]) for pick, of in ((max, parent), (min, run_id)))
        if began < ended:
            yield f"{run_id} began before its stage A had ended"


def problems_of_study(study, configurations):
    """A line for each thing wrong with an Optuna study of which so many configurations are done."""
    found = [
        f"trial {trial.number} is {trial.state.name}"
        for trial in study.trials
        if trial.state in (TrialState.RUNNING, TrialState.WAITING)
    ]
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    points = Counter(json.dumps(trial.params, sort_keys=True) for trial in complete)
    found += [f"{point} was told {n} times" for point, n in points.items() if n > 1]
    if len(complete) != configurations:
        found.append(f"{len(complete)} trials are complete, and {configurations} configurations are done")
    return found
