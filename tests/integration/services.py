"""Servers that tests start for themselves, on free ports of this machine, and end with every process they made."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
# Above Ray's worker ports (10002-19999) and below those that the kernel gives to clients.
PORTS = range(20000, 32000)


def _own_ports(settings):
    """The share of `PORTS` that xdist's process with these environment variables may use, in random order.

    A server listens seconds after its port was chosen, a Ray worker minutes after. Were two processes to choose from
    the same ports, a worker of one's cluster would come to listen where the other's runtime-env agent was to, and the
    raylet that cannot reach its agent ends.
    """
    worker = int(settings.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = PORTS[worker :: int(settings.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    return random.sample(ports, len(ports))


_UNUSED = iter(_own_ports(os.environ))


def free_ports(n):
    """n ports on which nobody listens, none of which was or will be given to anybody else."""
    found = []
    for port in _UNUSED:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == n:
            return found
    raise RuntimeError(f"fewer than {n} of the ports {PORTS} are left")


@contextlib.contextmanager
def process(command, log, env=None, cwd=None, grace_s=15):
    """Run `command` in the background, its output in the file `log`; at the end it goes, and all that it started."""
    with log.open("w") as out:
        started = subprocess.Popen(
            [*map(str, command)], env=env, cwd=cwd, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    try:
        yield started
    finally:
        end(started, grace_s)


def end(started, grace_s):
    """Terminate a process; what of it and of its descendants is left after `grace_s` is killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]
        started.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=grace_s)
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    started.wait()


def status(url, token=None, data=None):
    """HTTP status that `url` answers, to a POST of `data` where it is given; None where nobody answers."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_for(url, started, log, token=None, timeout_s=240):
    """Wait until `url` answers 200. Fails with the log where the process ends before, or takes too long."""
    deadline = time.monotonic() + timeout_s
    while status(url, token) != 200:
        if started.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{url} does not answer; exit code {started.poll()}\n{log.read_text()[-4000:]}")
        time.sleep(0.3)


class Restartable:
    """An MLflow server that can be killed and started again at the same address, over the same files."""

    def __init__(self, folder, database=None):
        (self._port,) = free_ports(1)
        self.uri = f"http://127.0.0.1:{self._port}"
        self._folder, self._database = folder, database or f"sqlite:///{folder / 'server.db'}"
        self._stack = contextlib.ExitStack()

    def start(self):
        """Start it and wait until it answers."""
        log = self._folder / "mlflow-server.log"
        artifacts = ("--artifacts-destination", self._folder / "artifacts")
        command = (BIN / "mlflow", "server", "--backend-store-uri", self._database, *artifacts, "--workers", "1")
        settings = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # half the processes
        address = ("--host", "127.0.0.1", "--port", self._port)
        self._server = self._stack.enter_context(process((*command, *address), log, settings, self._folder))
        wait_for(f"{self.uri}/health", self._server, log)

    def is_up(self):
        return self._server.poll() is None and status(f"{self.uri}/health") == 200

    def kill(self):
        """kill -9 of it and of every process it made."""
        family = [psutil.Process(self._server.pid), *psutil.Process(self._server.pid).children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self._server.wait()

    def close(self):
        self._stack.close()


@contextlib.contextmanager
def restartable_mlflow(folder, database=None):
    """A started `Restartable` over `database` (default: a fresh one in `folder`)."""
    with contextlib.closing(Restartable(folder, database)) as server:
        server.start()
        yield server


@contextlib.contextmanager
def mlflow_server(folder, database=None):
    """An MLflow server over `database` (default: a fresh one in `folder`); yields its address."""
    with restartable_mlflow(folder, database) as server:
        yield server.uri


@contextlib.contextmanager
def ray_cluster(folder, cpus, settings):
    """A Ray head node, `settings` in its environment: (addresses of dashboard and GCS, its temporary folder)."""
    # What has a fixed port by default, or must be known here. Ray's other servers let the kernel choose theirs.
    names = "port dashboard-port ray-client-server-port dashboard-agent-listen-port".split()  # noqa: SIM905
    ports = free_ports(len(names) + 40)
    flags = [f"--{name}={port}" for name, port in zip(names, ports, strict=False)]
    workers = ",".join(map(str, ports[len(flags) :]))
    log = folder / "ray-head.log"
    # Sockets lie below the temporary folder, and their paths may have 107 characters only.
    with tempfile.TemporaryDirectory(prefix="tclap-ray-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        command = [BIN / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}"]
        command += ["--disable-usage-stats", f"--temp-dir={scratch}", f"--worker-port-list={workers}", *flags]
        # A job's `python` is that of the head's PATH.
        environment = {**os.environ, **settings, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        environment["RAY_worker_niceness"] = "0"  # by default its workers wait for whatever else the machine does
        environment.pop("RAY_ADDRESS", None)
        # Asked to end, a head drains itself for half a minute.
        with process(command, log, environment, folder, grace_s=0) as head:
            token = settings.get("RAY_AUTH_TOKEN")
            address = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)}
            dashboard = f"http://{address['dashboard-port']}"
            wait_for(f"{dashboard}/api/jobs/", head, log, token)
            # It is the node's agent that starts a job.
            wait_for(f"http://{address['dashboard-agent-listen-port']}/api/healthz", head, log, token)
            yield dashboard, address["port"], Path(scratch)
