"""What is a bug and what is tried again: of one worker's error, and of the errors of a group."""

import errno
import re

import pytest
import ray
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError as NoConnection

from tclap.flags import SweepSettings
from tclap.lanes.failures import JobFailed, Lost, is_rays, of_group, of_worker
from tclap.tracking import runs
from tests.integration.services import free_ports

PEER_GONE = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer")
BUG = JobFailed("ValueError: wrong", "Traceback ...\nValueError: wrong", 1)


def raised(error, away=False):
    try:
        raise error
    except Exception as caught:  # noqa: BLE001
        return of_worker(caught, 3, away)


@pytest.mark.parametrize("error", [ValueError("wrong"), MemoryError("all of it")])
def test_an_error_of_the_jobs_own_code_is_a_bug_with_its_traceback(error):
    failed = raised(error)
    assert isinstance(failed, JobFailed)
    assert failed.reason == f"{type(error).__name__}: {error}"
    assert "Traceback (most recent call last)" in failed.trace
    assert failed.seed == 3


def test_memory_of_a_gpu_that_does_not_suffice_names_the_flags_that_need_less():
    failed = raised(torch.OutOfMemoryError("CUDA out of memory"))
    assert isinstance(failed, JobFailed)
    assert failed.reason.startswith("OutOfMemoryError: CUDA out of memory. ")
    flags = re.findall(r"--[a-z-]+ \d+", failed.reason)
    assert [flag.split()[0] for flag in flags] == ["--chunk", "--gpus-per-worker"]
    settings = SweepSettings(**{name[2:].replace("-", "_"): float(n) for name, n in (flag.split() for flag in flags)})
    assert settings.identity() == SweepSettings().identity()  # so the sweep goes on under its name


@pytest.mark.parametrize(
    "error",
    [PEER_GONE, ray.exceptions.ActorDiedError(), OSError(errno.ESTALE, "Stale file handle")],
    ids=["a peer", "a process of Ray's", "the storage"],
)
def test_what_is_gone_is_a_loss(error):
    assert isinstance(raised(error), Lost)


def test_mlflow_away_is_waited_for(monkeypatch):
    assert isinstance(raised(MlflowException("no answer"), away=True), Lost)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    client = MlflowClient(f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(MlflowException) as given_up:
        client.search_experiments()
    assert runs.is_away(given_up.value)
    assert not runs.is_away(MlflowException("RESOURCE_DOES_NOT_EXIST"))
    assert not runs.is_away(NoConnection("of something else"))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_bug_on_any_worker_is_the_jobs_though_its_peer_fails_because_it_is_gone(rank):
    assert of_group({rank: BUG, 1 - rank: Lost("its peer is gone")}) is BUG


@pytest.mark.parametrize(
    "errors",
    [
        {0: Lost("its peer is gone")},
        {0: BUG, 1: ray.exceptions.ActorDiedError()},
        {0: KeyError("x"), 1: ray.exceptions.ActorDiedError()},
        {},
    ],
    ids=["a peer", "a death, and what it did to another", "a death, and what it did to the loop", "nobody says"],
)
def test_a_death_makes_it_a_loss_whatever_the_others_say(errors):
    assert isinstance(of_group(errors), Lost)


def test_an_error_between_two_jobs_is_no_loss_that_would_come_again_and_again():
    failed = of_group({0: KeyError("x")})
    assert isinstance(failed, JobFailed)
    assert failed.reason == "KeyError: 'x'"


def test_what_ray_raises_is_known_by_its_module():
    assert is_rays(ray.exceptions.ActorDiedError())
    assert not is_rays(ValueError())
