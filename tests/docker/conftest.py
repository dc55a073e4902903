"""A compose cluster of the tests' own (another project name, image and ports), made and removed by them."""

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
DOCKER = REPO / "docker"
FILES = ("-f", str(DOCKER / "compose.yaml"))


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.docker)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Cluster:
    """One compose project; commands run with its environment, from the repository."""

    def __init__(self, project, **settings):
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        self.compose_command = ["docker", "compose"] if plugin else ["docker-compose"]
        self.dashboard_port, self.mlflow_port = free_port(), free_port()
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TCLAP_", "CLUSTER_", "MLFLOW_", "RAY_"))},
            "COMPOSE_PROJECT_NAME": project,
            "CLUSTER_IMAGE": "tclap:test",
            "CLUSTER_POSTGRES_IMAGE": "tclap-postgres:test",
            "CLUSTER_DASHBOARD_PORT": str(self.dashboard_port),
            "CLUSTER_MLFLOW_PORT": str(self.mlflow_port),
            "CLUSTER_WORKER_CPUS": "1",
            **settings,
        }

    def run(self, *command, check=True, timeout_s=1800):
        done = subprocess.run(
            command, cwd=REPO, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def compose(self, *arguments, **options):
        return self.run(*self.compose_command, *FILES, *arguments, **options)

    def up(self, *arguments, **options):
        return self.run(DOCKER / "up.sh", *arguments, **options)

    def remove(self):
        self.compose("--profile", "submit", "down", "--volumes", "--remove-orphans", "--timeout", "5")

    def inside(self, service, script):
        """What a shell command prints in the (first) container of a service."""
        return self.compose("exec", "-T", service, "bash", "-c", script).stdout

    def containers(self):
        """Name -> docker's state of each running container."""
        rows = self.run(
            "docker",
            "ps",
            "--filter",
            f"label=com.docker.compose.project={self.project}",
            "--format",
            "{{.Names}}\t{{.Status}}",
        ).stdout.splitlines()
        return dict(row.split("\t") for row in rows)

    @property
    def project(self):
        return self.environment["COMPOSE_PROJECT_NAME"]

    def sql(self, query):
        """Rows of a query on MLflow's database, asked of PostgreSQL itself; each is a list of text."""
        script = (
            "PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; export PGPASSWORD=$(</secrets/server/postgres-password); "
            f'psql --host 127.0.0.1 --username mlflow --no-align --tuples-only --command "{query}" mlflow'
        )
        return [line.split("|") for line in self.inside("postgres", script).splitlines()]

    def submit(self, *sweep):
        """`make submit` in the background, its output line by line."""
        return subprocess.Popen(
            ["make", "--no-print-directory", "submit", f"SUBMIT=python sweeps/table4.py {' '.join(sweep)}"],
            cwd=REPO,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def read_until(process, pattern, timeout_s=900):
    """Read a job's lines up to the first that matches; they are returned. Fails where the job ends before."""
    lines, give_up = [], time.monotonic() + timeout_s
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return lines
        assert time.monotonic() < give_up, f"no {pattern} in {timeout_s} s:\n{''.join(lines)}"
    raise AssertionError(f"the job ended without {pattern}:\n{''.join(lines)}")


@pytest.fixture(scope="session")
def cluster():
    """The cluster with two workers, started from nothing."""
    assert shutil.which("docker"), "make test-docker says so before"
    made = Cluster("tclap-test")
    made.remove()
    made.compose("build")  # not part of the 3 minutes
    started = time.monotonic()
    made.said = made.up("--scale", "ray-worker=2").stdout
    made.up_s = time.monotonic() - started
    yield made
    made.remove()
