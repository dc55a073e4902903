"""What goes wrong at the start is told in one line, which is the last."""

import json
import socket

import pytest

from tests.docker.conftest import DOCKER, Cluster


@pytest.fixture
def start():
    """`make up` of a cluster with some settings, which must fail: its last line."""
    made = []

    def fails(**settings):
        made.append(Cluster("tclap-test-wrong", **settings))
        done = made[-1].up(check=False)
        assert done.returncode != 0
        assert "Traceback" not in done.stdout + done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        return line

    yield fails
    made[-1].remove()


def test_dataset_folder_that_is_not_there(start, tmp_path):
    assert start(TCLAP_DATA=str(tmp_path / "no")) == f"error: TCLAP_DATA={tmp_path}/no is not a folder on this machine"


def test_dataset_folder_without_a_dataset(start, tmp_path):
    tmp_path.chmod(0o755)
    line = start(TCLAP_DATA=str(tmp_path))
    assert line.startswith(f"error: TCLAP_DATA={tmp_path}, mounted at /data: /data/meta/esc50.csv not found")


def test_too_little_shared_memory(start):
    line = start(CLUSTER_SHM_SIZE="64m")
    assert line == "error: /dev/shm has 67 MB free, and the cluster needs 256 MB: set CLUSTER_SHM_SIZE in docker/.env"


def test_full_disk(start, tmp_path):
    small = tmp_path / "small.yaml"
    small.write_text("volumes: {storage: {driver_opts: {type: tmpfs, device: tmpfs, o: 'size=16m,uid=1000'}}}\n")
    line = start(COMPOSE_FILE=f"{DOCKER / 'compose.yaml'}:{small}")
    assert line.startswith("error: /storage has 16 MB free, and the cluster needs 500 MB: free space")


@pytest.mark.parametrize("name", ["CLUSTER_DASHBOARD_PORT", "CLUSTER_MLFLOW_PORT"])
def test_taken_port(start, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = start(**{name: str(port)})
    assert line == f"error: 127.0.0.1:{port} is taken: choose another {name} (docker/.env.example)"


def test_gpu_file_reserves_gpus_for_the_workers_only():
    cluster = Cluster("tclap-test-gpu")
    shown = cluster.compose("-f", str(DOCKER / "compose.gpu.yaml"), "config", "--format", "json").stdout
    services = json.loads(shown)["services"]
    reserved = {
        name for name, service in services.items() if "reservations" in service.get("deploy", {}).get("resources", {})
    }
    assert reserved == {"ray-worker"}
    (device,) = services["ray-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert services["ray-head"]["environment"]["TCLAP_USE_GPU"] == "true"
