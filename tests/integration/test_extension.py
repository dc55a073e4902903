"""The same name with more seeds and another row: what is finished stays as it is, byte for byte."""

import json

import pandas as pd
from mlflow import MlflowClient

from tests.integration.conftest import TINY, rows_program, run_here, run_rows

ROWS = [("B", {}), ("AB", {})]
NINTH = ("B", {"alpha_st": 0})


def test_more_seeds_and_another_row_go_on_and_touch_nothing_that_is_finished(root, tmp_path, cluster):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    folder = tmp_path / "runs" / "grown"

    def start(rows, *flags, here=False):
        given = (
            "--data",
            root,
            "--storage",
            folder.parent,
            "--name",
            folder.name,
            *TINY,
            "--concurrent-trials",
            "1",
            *flags,
        )
        env = {**cluster.env, "MLFLOW_TRACKING_URI": uri}
        return run_here(rows_program(rows), *given, env=env) if here else run_rows(rows, *given, env=env)

    def results():
        return {path.relative_to(folder): path.read_bytes() for path in folder.glob("trials/*/*/result.json")}

    def logged():
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("tclap")
        found = client.search_runs([experiment.experiment_id], "tags.sweep = 'grown'")
        parents = [run for run in found if run.data.tags["kind"] == "sweep"]
        assert len(parents) == 1
        children = {run.info.run_id: run.to_dictionary() for run in found if run is not parents[0]}
        (file,) = [client.download_artifacts(parents[0].info.run_id, "rows.json", str(tmp_path))]
        return children, parents[0], json.loads(open(file, encoding="utf-8").read())["rows"]

    def whole(rows_and_seeds):
        """What every table holds, and how many configurations and seeds that are."""
        table = pd.read_csv(folder / "table4.csv")
        assert len(table) == len(logged()[2]) == rows_and_seeds
        page = (folder / "report.html").read_text(encoding="utf-8")
        return all(name in page for name, _ in logged()[2])

    first = start(ROWS, "--seeds", "0")
    assert first.returncode == 0, first.stdout + first.stderr
    files, (runs, _, _) = results(), logged()
    assert len(files) == len(runs) == 3  # with stage A's
    assert whole(2)

    more = start([*ROWS, NINTH], "--seeds", "0,1")
    assert more.returncode == 0, more.stdout + more.stderr
    assert "3 of 8 runs are done" in more.stdout
    more_files, (more_runs, parent, _) = results(), logged()
    assert len(more_files) == len(more_runs) == 8
    assert files.items() <= more_files.items()
    assert {name: more_runs[name] for name in runs} == runs
    assert parent.data.tags["asked.seeds"] == "[0, 1]"
    assert whole(6)

    fewer = start(ROWS[:1], "--seeds", "0", here=True)  # nothing is left to do, and everything stays in view
    assert fewer.returncode == 0, fewer.stdout + fewer.stderr
    assert whole(6)

    other = start(ROWS, "--steps-b", "5", here=True)
    assert other.returncode == 2
    assert "steps_b was 4, now 5" in other.stderr
    assert results() == more_files
