"""The driver in one process: only what is Ray's own is stood in for."""

from types import SimpleNamespace

import pytest
import ray
import torch
from ray.tune.search import Searcher

from tclap.lanes import cluster, extract, leftovers, mailbox, preflight, trials, worker
from tests.lanes.test_worker import desk


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes of the jobs that were begun, in order."""
    jobs: list[str] = []

    def run_trials(searcher, sweep, box, lanes, callbacks) -> None:
        at_work, number = desk(sweep), 0
        while (suggested := searcher.suggest(str(number))) != Searcher.FINISHED:
            job = worker.Job.from_json(suggested["job"])
            trial = SimpleNamespace(config=suggested, last_result=None)
            callbacks[0].on_trial_start(0, [], trial)
            jobs.extend([] if job.prepares else [job.hash])
            trial.last_result = at_work.do(job)
            searcher.on_trial_complete(str(number), trial.last_result)
            callbacks[0].on_trial_complete(0, [], trial)
            number += 1

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for module in (worker, extract):
        monkeypatch.setattr(module, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(trials, "run_trials", run_trials)
    monkeypatch.setattr(cluster, "open_cluster", lambda: None)
    monkeypatch.setattr(cluster, "room_for_lanes", lambda sweep: 1)
    monkeypatch.setattr(mailbox, "open_mailbox", lambda: None)
    monkeypatch.setattr(leftovers, "Leftovers", lambda: None)
    monkeypatch.setattr(preflight, "check_room", lambda settings, resources: None)
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(ray, "kill", lambda actor: None)
    return jobs
