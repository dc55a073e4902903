"""The files in docker/, as far as reading them goes; tests/docker starts them."""

import re
from pathlib import Path

import yaml

REPO = Path(__file__).parents[1]
DOCKER = REPO / "docker"
COMPOSE = [DOCKER / "compose.yaml", DOCKER / "compose.gpu.yaml"]
BY_MAKE = {"GIT_COMMIT"}  # docker/up.sh sets it


def pins(path):
    """Package -> version of a requirements file."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_every_variable_is_in_the_example_with_its_default():
    used = {}
    for path in COMPOSE:
        for name, default in re.findall(r"\$\{([A-Z_]+)(?::-([^}]*))?", path.read_text()):
            used.setdefault(name, set()).add(default)
    documented = dict(re.findall(r"^# ([A-Z_]+)=(\S*)", (DOCKER / ".env.example").read_text(), re.MULTILINE))
    assert set(used) - BY_MAKE == set(documented)
    for name, defaults in used.items():
        assert len(defaults - {""}) <= 1, f"{name} has two defaults"
        if name not in BY_MAKE | {"TCLAP_DATA"}:
            assert defaults - {""} == {documented[name]}, name


def test_ports_are_on_loopback_only():
    services = yaml.safe_load(COMPOSE[0].read_text())["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_is_a_compose_variable_or_written_in_a_file():
    for path in (*COMPOSE, DOCKER / ".env.example", DOCKER / "Dockerfile", DOCKER / "postgres" / "Dockerfile"):
        given = re.findall(r"(?:PASSWORD|TOKEN|SECRET)[A-Z_]*\s*[:=]\s*(\S+)", path.read_text())
        assert all(value.startswith("/secrets/") for value in given), (path, given)


def test_lock_holds_the_versions_of_constraints_and_a_hash_for_each():
    lock, constraints = pins(DOCKER / "requirements.lock"), pins(REPO / "constraints.txt")
    assert lock["ray"] == constraints["ray"]
    differing = {name: version for name, version in lock.items() if constraints.get(name, version) != version}
    assert not differing
    entries = re.split(r"\n(?=[a-z])", (DOCKER / "requirements.lock").read_text())
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry.splitlines()[0])


def test_lock_covers_what_pyproject_asks_for():
    text = (REPO / "pyproject.toml").read_text()
    lists = re.findall(r"^(?:dependencies|image) = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL)
    assert len(lists) == 2
    names = {re.sub(r"[-_.]+", "-", n).lower() for entry in lists for n in re.findall(r'"([A-Za-z0-9._-]+)', entry)}
    assert {"torch", "mlflow", "psycopg"} <= names
    assert names <= set(pins(DOCKER / "requirements.lock"))
