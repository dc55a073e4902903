"""`make up`, `make submit`, `make down` for real; the tests run in this order, on one cluster."""

import collections
import socket
import subprocess
import urllib.error
import urllib.request

import mlflow
import pytest

from tests.docker.conftest import read_until

# Small, but each run lasts seconds: something must be under way when it is killed.
SWEEP = "--name killed --batch-sizes 20 --takes 4 --eval-takes 1 --steps-a 200 --steps-b 200 --base-steps 20".split()  # noqa: SIM905
RUNS = 9  # Table IV: 8 configurations and their stage A
HOSTS = "SELECT DISTINCT value FROM tags WHERE key = 'host'"


def status(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_all_services_are_healthy_within_three_minutes(cluster):
    containers = cluster.containers()
    services = [
        f"{cluster.project}-{s}" for s in ("mlflow-1", "postgres-1", "ray-head-1", "ray-worker-1", "ray-worker-2")
    ]
    assert sorted(containers) == services
    assert all("(healthy)" in state for state in containers.values())
    assert cluster.up_s < 180
    assert f"http://127.0.0.1:{cluster.dashboard_port}" in cluster.said
    assert f"http://127.0.0.1:{cluster.mlflow_port}" in cluster.said


@pytest.fixture(scope="module")
def login(cluster):
    """(user, password) of MLflow, read the way that `make up` tells."""
    said = [line.split("password:")[1] for line in cluster.said.splitlines() if "password:" in line]
    credentials = cluster.run("bash", "-c", said[0]).stdout
    fields = dict(line.split(" = ") for line in credentials.splitlines() if " = " in line)
    return fields["mlflow_tracking_username"], fields["mlflow_tracking_password"]


@pytest.fixture(scope="module")
def token(cluster):
    said = [line.split("token:")[1] for line in cluster.said.splitlines() if "token:" in line]
    return cluster.run("bash", "-c", said[0]).stdout.strip()


def test_ray_and_mlflow_refuse_without_token_and_password(cluster, login, token):
    jobs = f"http://127.0.0.1:{cluster.dashboard_port}/api/jobs/"
    assert status(jobs) == 401
    assert status(jobs, Authorization="Bearer wrong") == 403
    assert status(jobs, Authorization=f"Bearer {token}") == 200
    runs = f"http://127.0.0.1:{cluster.mlflow_port}/api/2.0/mlflow/experiments/search?max_results=1"
    basic = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    basic.add_password(None, runs, *login)
    assert status(runs) == 401
    assert status(runs, Authorization="Basic dGNsYXA6d3Jvbmc=") == 401  # tclap:wrong
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(basic))
    assert opener.open(runs, timeout=10).status == 200


def test_no_port_answers_on_another_address_than_loopback(cluster):
    published = cluster.run(
        "docker", "ps", "--filter", f"label=com.docker.compose.project={cluster.project}", "--format", "{{.Ports}}"
    ).stdout
    bound = [part.split("->")[0] for part in published.replace("\n", ", ").split(", ") if "->" in part]
    assert sorted(bound) == sorted(f"127.0.0.1:{port}" for port in (cluster.dashboard_port, cluster.mlflow_port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the address that packets would leave from
        outward = probe.getsockname()[0]
    assert not outward.startswith("127.")
    for port in (cluster.dashboard_port, cluster.mlflow_port):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((outward, port), timeout=5)


def test_no_process_is_root_and_no_secret_is_seen(cluster, login, token):
    names = ("flask-secret-key", "postgres-password")
    secrets = {token, login[1], *(cluster.inside("mlflow", f"cat /secrets/server/{name}").strip() for name in names)}
    assert len(secrets) == 4
    assert min(map(len, secrets)) >= 32
    for name in cluster.containers():
        processes = cluster.run("docker", "top", name, "-eo", "pid,uid,args").stdout.splitlines()[1:]
        assert processes
        assert "0" not in [line.split()[1] for line in processes], name
        given = cluster.run("docker", "inspect", name).stdout
        assert not [s for s in secrets if s in given or any(s in line for line in processes)], name
    for image in ("tclap:test", "tclap-postgres:test"):
        history = cluster.run("docker", "history", "--no-trunc", image).stdout
        assert not [s for s in secrets if s in history]
    found = cluster.run(
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "tclap:test",
        "bash",
        "-c",
        "ls -A /secrets/*; command -v gcc cc g++ make; true",
    ).stdout
    assert found.split() == ["/secrets/jobs:", "/secrets/server:"]


@pytest.fixture(scope="module")
def sweep(cluster):
    """A sweep under which a worker, MLflow, PostgreSQL and at last the whole cluster go down; then submitted again.

    Returns the last job's output, what had been finished before the cluster went down (file -> change time), and the
    hosts of the first trials beside those of the workers.
    """
    job = cluster.submit(*SWEEP)
    read_until(job, r"^\[2/9\]")
    hosts = {row[0] for row in cluster.sql(HOSTS)}
    names = [f"{cluster.project}-ray-worker-{n}" for n in (1, 2)]
    workers = {cluster.run("docker", "exec", name, "hostname").stdout.strip() for name in names}
    cluster.run("docker", "kill", names[1])
    read_until(job, r"^\[3/9\]")
    cluster.run("docker", "restart", f"{cluster.project}-mlflow-1")
    read_until(job, r"^\[4/9\]")
    cluster.run("docker", "restart", f"{cluster.project}-postgres-1")
    read_until(job, r"^\[6/9\]")
    cluster.run("make", "down")
    job.communicate(timeout=120)
    assert cluster.containers() == {}
    cluster.up("--scale", "ray-worker=2")
    before = finished(cluster)
    assert len(before) >= 6
    again = cluster.submit(*SWEEP)
    output, _ = again.communicate(timeout=1200)
    assert again.returncode == 0, output
    return output, before, (hosts, workers)


def finished(cluster):
    found = cluster.inside("ray-head", "stat -c '%n %Y' /storage/killed/trials/*/seed-0/result.json")
    return dict(line.split() for line in found.splitlines())


def test_sweep_ends_with_everything_once_in_postgresql(cluster, sweep):
    tags = "(SELECT value FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = '{}')"
    columns = ", ".join(["r.status", *(tags.format(key) for key in ("config_hash", "kind", "host"))])
    rows = cluster.sql(f"SELECT {columns} FROM runs r WHERE lifecycle_stage = 'active'")
    children = [row for row in rows if row[2] != "sweep"]
    assert collections.Counter(row[0] for row in rows) == {"FINISHED": RUNS + 1}
    assert len({row[1] for row in children}) == len(children) == RUNS
    assert cluster.sql("SELECT count(*) FROM tags WHERE key = 'done' AND value = 'true'") == [[str(RUNS)]]
    steps = cluster.sql("SELECT count(*), count(DISTINCT step) FROM metrics WHERE key = 'train/loss' GROUP BY run_uuid")
    assert [distinct for _, distinct in steps] == ["200"] * RUNS


def test_trials_ran_on_both_workers(cluster, sweep):
    hosts, workers = sweep[2]
    assert len(workers) == 2
    assert hosts == workers


def test_what_was_finished_was_not_run_again(cluster, sweep):
    after = finished(cluster)
    assert len(after) == RUNS
    assert {name: changed for name, changed in after.items() if name in sweep[1]} == sweep[1]


def test_result_is_shown_and_the_page_is_one_that_a_browser_reaches(cluster, sweep):
    assert "3A_order" in sweep[0]
    assert f"then open http://127.0.0.1:{cluster.mlflow_port}/#/experiments/" in sweep[0]


def test_artifacts_are_downloaded_through_the_server_from_outside(cluster, sweep, login, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", login[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", login[1])
    client = mlflow.MlflowClient(f"http://127.0.0.1:{cluster.mlflow_port}")
    experiment = client.get_experiment_by_name("tclap").experiment_id
    run = client.search_runs([experiment], "tags.kind = 'trial'", max_results=1)[0]
    got = client.download_artifacts(run.info.run_id, "checkpoint/model.safetensors", str(tmp_path))
    stored = f"/storage/killed/trials/{run.data.tags['config_hash']}/seed-0/checkpoint/model.safetensors"
    here = subprocess.run(["sha256sum", got], capture_output=True, text=True, check=True).stdout.split()[0]
    assert cluster.inside("ray-head", f"sha256sum {stored}").split()[0] == here


def test_same_job_again_after_down_and_up_runs_nothing(cluster, sweep):
    runs = cluster.sql("SELECT run_uuid FROM runs ORDER BY run_uuid")
    cluster.run("make", "down")
    cluster.up()
    assert cluster.sql("SELECT run_uuid FROM runs ORDER BY run_uuid") == runs
    job = cluster.submit(*SWEEP)
    output, _ = job.communicate(timeout=300)
    assert job.returncode == 0, output
    assert "nothing left to do" in output
    assert cluster.sql("SELECT run_uuid FROM runs ORDER BY run_uuid") == runs
