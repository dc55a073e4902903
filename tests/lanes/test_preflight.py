"""What is refused before a sweep's parent run exists; Ray itself is replaced by what it raises."""

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray
from ray.exceptions import AuthenticationError, RaySystemError

from tclap import cli
from tclap.config import DataSettings, LossCoefficients
from tclap.data.dataset import read_index, shared_recordings
from tclap.errors import InputError
from tclap.flags import SweepSettings
from tclap.lanes import preflight
from tclap.lanes.start import claimed
from tclap.places import at
from tests.data.test_dataset import rows, write


def refusal(check, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        check(*arguments)
    line = str(caught.value)
    assert "\n" not in line
    return line


ADDRESSES = {
    "http://head:8265": "use `ray job submit`",
    "https://head": "use `ray job submit`",
    "localhost": "names no port: write HOST:PORT",
    "head": "names no port",
    ":6379": "names no host",
    "ray://": "names no host",
    "head:port": "write HOST:PORT, such as head:6379",
    "head:99999999": "write HOST:PORT, such as head:6379",
    "127.0.0.1:9": "no Ray cluster at RAY_ADDRESS=127.0.0.1:9",
    "ray://127.0.0.1:9": "no Ray cluster at RAY_ADDRESS=ray://127.0.0.1:9",
    "no.such.host.invalid:6379": "no Ray cluster at RAY_ADDRESS=no.such.host.invalid:6379",
}


@pytest.mark.parametrize(("address", "words"), ADDRESSES.items(), ids=ADDRESSES)
def test_an_address_at_which_no_ray_is(address, words):
    assert words in refusal(preflight.check_ray_address, address)


@pytest.mark.parametrize("address", ["", "auto", "local"])
def test_addresses_that_name_no_host(address):
    preflight.check_ray_address(address)


@pytest.fixture
def dashboard() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_dashboards_port_is_known_by_its_answer(dashboard, capfd):
    """Ray waited there for ever."""
    assert "speaks HTTP, as Ray's dashboard does" in refusal(preflight.check_ray_address, dashboard)


def test_one_that_listens_and_says_nothing_may_be_ray(monkeypatch):
    monkeypatch.setattr(preflight, "PROBE_S", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        preflight.check_ray_address(f"127.0.0.1:{silent.getsockname()[1]}")


RAISED = [
    ValueError("Invalid Ray address: 'http://x'.\nTo fix this, either:\n 1. Unset RAY_ADDRESS"),
    ConnectionError("ray client connection timeout"),
    RuntimeError("Version mismatch:\nThe cluster was started with:\n Ray: 2.9"),
    OSError("AF_UNIX path length cannot exceed 107 bytes"),
    TimeoutError("timed out"),
    RaySystemError("the GCS is dead"),
    AuthenticationError("Token authentication is enabled but no token"),
    ImportError("no module named grpc"),
    KeyError("node:10.0.0.1"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_everything_that_ray_raises_is_one_line_with_its_address(monkeypatch, error):
    def init(**options):
        raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", "ray://me:hunter2@head:10001")
    line = refusal(preflight.connect_ray, {})
    assert line.startswith("Ray at RAY_ADDRESS=ray://me:***@head:10001: ")
    assert str(error.args[0]).split("\n")[0] in line


def test_a_ray_that_hangs_ends_the_process_in_one_line(tmp_path):
    script = """
import time, ray
from tclap.lanes import preflight
preflight.RAY_ANSWERS_S = 1.0
ray.init = lambda **options: time.sleep(60)
print("before", flush=True)
preflight.connect_ray({})
"""
    environment = {**os.environ, "RAY_ADDRESS": "head:8265"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout) == (2, "before\n")
    assert done.stderr == ("error: Ray at RAY_ADDRESS=head:8265 does not answer within 1 s: is it Ray's own port?\n")


LONG = "/tmp/" + "x" * 200


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize("folder", ["/scratch/" + "x" * 60, "/" + "é" * 30, "/local/job.1.batch/" + "y" * 40])
def test_a_long_tmpdir_is_one_line_with_the_cure(variable, folder):
    line = refusal(preflight.check_socket_path, {variable: folder, "HOME": "/root"})
    assert line.startswith(f"{variable}={folder}: ")
    assert "set RAY_TMPDIR to a short folder" in line


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TMPDIR": "/tmp"},
        {"TMPDIR": "x" * 200, "RAY_TMPDIR": "/tmp/r"},
        {"TMPDIR": "x" * 200, "RAY_ADDRESS": "h:1"},
    ],
)
def test_a_short_one_or_a_cluster_that_runs_is_fine(environment):
    preflight.check_socket_path(environment)


def test_the_limit_is_the_systems_own(tmp_path):
    """The longest folder that is let through makes a path that a socket can be bound to."""
    base = "/tmp/t" + "x" * 60
    while len(os.fsencode(os.path.join(base, preflight.SOCKET))) > preflight.LONGEST_SOCKET_PATH:
        base = base[:-1]
    preflight.check_socket_path({"TMPDIR": base})
    assert "over the 107" in refusal(preflight.check_socket_path, {"TMPDIR": base + "x"})
    path = Path(base) / preflight.SOCKET
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
    path.unlink()
    for folder in path.relative_to(base).parents:
        (Path(base) / folder).rmdir()


def settings(*flags: str) -> SweepSettings:
    return SweepSettings(_cli_parse_args=list(flags))


def test_use_gpu_without_a_gpu_is_known_before_there_is_a_run():
    there = {"CPU": 4.0}
    assert refusal(preflight.check_room, settings("--use-gpu"), there).startswith("--use-gpu: a trial needs")
    preflight.check_room(settings(), there)
    preflight.check_room(settings("--use-gpu", "--concurrent-trials", "2"), there)  # it grows when asked
    preflight.check_room(settings("--use-gpu", "--gpus-per-worker", "0.5"), {"CPU": 1.0, "GPU": 1.0})
    assert "needs 2 CPUs and 2 GPUs" in refusal(
        preflight.check_room, settings("--use-gpu", "--workers", "2"), {"CPU": 8.0, "GPU": 1.0}
    )
    assert "needs 8 CPUs" in refusal(preflight.check_room, settings("--workers", "8"), there)


def test_results_in_a_jobs_folder_would_vanish(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert "would vanish with it" in refusal(preflight.check_outlives_job, at("runs"))
    preflight.check_outlives_job(at(str(tmp_path)))
    preflight.check_outlives_job(at("s3://bucket/x"))


def test_mlflow_is_asked_before_ray_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    line = refusal(preflight.check_tracking, at(str(tmp_path)))
    assert line.startswith("MLflow at http://me:***@127.0.0.1:9: ")
    assert "hunter2" not in line


def test_recordings_that_cross_the_folds_are_counted(tmp_path):
    shared = rows().assign(src_file=["17", "17", "9", "8"], fold=[1, 4, 1, 4])
    root = write(tmp_path / "shared", shared)
    data = DataSettings(train_folds=(1,), eval_folds=(4,), test_folds=())
    note = preflight.shared_recordings(root, data)
    assert note is not None
    assert note.startswith("1 of 3 recordings (src_file) have clips in more than one of train_folds, eval_folds")
    assert preflight.shared_recordings(write(tmp_path / "own", rows().assign(fold=[1, 4, 1, 4])), data) is None
    dataset = read_index(root)
    assert shared_recordings(dataset, [(1, 4)]) == 0  # in one set of folds they may be together
    assert shared_recordings(dataset, [(1,), (4,)]) == 1
    assert shared_recordings(dataset, []) == 0


def test_shared_recordings_are_said_at_the_start_and_by_data_check_unless_they_are_allowed(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    table = pd.concat([rows()] * 3, ignore_index=True)
    table["filename"] = [f"{n}.wav" for n in range(len(table))]
    folds = [1, 1, 1, 1, 4, 4, 4, 4, 5, 5, 5, 5]
    root = write(tmp_path / "shared", table.assign(fold=folds, src_file=[str(n % 5) for n in range(12)]))
    words = "5 of 5 recordings (src_file) have clips in more than one of"

    def started(*flags: str) -> str:
        given = ["--data", str(root), "--storage", str(tmp_path / "runs"), "--batch-sizes", "1", "--train-folds", "1"]
        of = settings(*given, *flags)
        with claimed(of, [of.configuration("B", LossCoefficients(), 1)]):
            return capsys.readouterr().out

    def checked(*flags: str) -> str:
        monkeypatch.setattr(sys, "argv", ["tclap", "data", "check", str(root), *flags])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 0  # a warning, and no problem
        return capsys.readouterr().out

    for said in (started, checked):
        assert words in said()
        assert words not in said("--allow-shared-recordings")


@pytest.mark.parametrize(
    ("name", "near"),
    [("TCLAP_BATCHSIZES", "TCLAP_BATCH_SIZES"), ("TCLAP_SEDS", "TCLAP_SEEDS"), ("tclap_storrage", "TCLAP_STORAGE")],
)
def test_a_variable_that_is_nearly_a_flags_is_said(capsys, name, near):
    preflight.say_unknown_variables(settings(), {name: "1"})
    assert capsys.readouterr().out == f"note: {name} sets no flag of this sweep; did you mean {near}?\n"


def test_other_variables_are_not_ours_to_judge(capsys):
    others = ("TCLAP_GIT_COMMIT", "TCLAP_SIF", "TCLAP_BIND", "TCLAP_TRIALS", "TCLAP_SEEDS", "tclap_lr", "TCL_LIBRARY")
    preflight.say_unknown_variables(settings(), dict.fromkeys(others, "1"))
    assert capsys.readouterr().out == ""


def test_shuffled_folds_share_most_recordings(tmp_path):
    """Two clips of each recording, folds drawn by clip instead of by recording."""
    many = 40
    table = (
        rows()
        .iloc[np.arange(many) % 4]
        .assign(
            filename=[f"{n}.wav" for n in range(many)],
            src_file=[str(n // 4) + "ab"[n % 2] for n in range(many)],
            fold=np.random.default_rng(0).integers(1, 3, many),
        )
    )
    dataset = read_index(write(tmp_path / "d", table))
    crossing = shared_recordings(dataset, [(1,), (2,)])
    pairs = table.groupby("src_file")["fold"].nunique()
    assert crossing == (pairs > 1).sum() > 3
