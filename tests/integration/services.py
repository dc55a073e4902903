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


def free_ports(n):
    """n ports on which nobody listens."""
    found = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == n:
            return found
    raise RuntimeError(f"fewer than {n} of the ports {PORTS} are free")


@contextlib.contextmanager
def process(command, log, env=None, cwd=None):
    """Run `command` in the background, its output in the file `log`; at the end it goes, and all that it started."""
    with log.open("w") as out:
        started = subprocess.Popen(
            [*map(str, command)], env=env, cwd=cwd, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    try:
        yield started
    finally:
        end(started)


def end(started, grace_s=15):
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


def wait_for(url, started, log, token=None, timeout_s=90):
    """Wait until `url` answers 200. Fails with the log where the process ends before, or takes too long."""
    deadline = time.monotonic() + timeout_s
    while status(url, token) != 200:
        if started.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{url} does not answer; exit code {started.poll()}\n{log.read_text()[-4000:]}")
        time.sleep(0.3)


@contextlib.contextmanager
def mlflow_server(folder, database=None):
    """An MLflow server over `database` (default: a fresh one in `folder`); yields its address."""
    (port,) = free_ports(1)
    log = folder / "mlflow-server.log"
    store = ("--backend-store-uri", database or f"sqlite:///{folder / 'server.db'}")
    command = (BIN / "mlflow", "server", *store, "--artifacts-destination", folder / "artifacts", "--workers", "1")
    settings = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # half the processes
    with process((*command, "--host", "127.0.0.1", "--port", port), log, settings, folder) as server:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def ray_cluster(folder, cpus, settings):
    """A Ray head node with its dashboard, `settings` in its environment; yields the dashboard's address and Ray's folder."""
    names = "port dashboard-port ray-client-server-port node-manager-port object-manager-port runtime-env-agent-port "
    names += "dashboard-agent-listen-port dashboard-agent-grpc-port metrics-export-port"
    ports = free_ports(len(names.split()) + 40)
    flags = [f"--{name}={port}" for name, port in zip(names.split(), ports, strict=False)]
    workers = ",".join(map(str, ports[len(flags) :]))
    log = folder / "ray-head.log"
    # Sockets lie below the temporary folder, and their paths may have 107 characters only.
    with tempfile.TemporaryDirectory(prefix="tclap-ray-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        command = [BIN / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}"]
        command += ["--disable-usage-stats", f"--temp-dir={scratch}", f"--worker-port-list={workers}", *flags]
        # A job's `python` is that of the head's PATH.
        environment = {**os.environ, **settings, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        environment.pop("RAY_ADDRESS", None)
        with process(command, log, environment, folder) as head:
            address = f"http://127.0.0.1:{ports[1]}"
            wait_for(f"{address}/api/version", head, log, settings.get("RAY_AUTH_TOKEN"))
            yield address, Path(scratch)
