#!/usr/bin/env python3
"""What compose runs before the other services: the secrets, at first start, and checks of what would fail late.

Each problem is one line and exit code 2.
"""

import os
import secrets
import shutil
from pathlib import Path

from tclap.console import run_or_exit
from tclap.data.dataset import read_index
from tclap.errors import InputError

JOBS, SERVER = Path("/secrets/jobs"), Path("/secrets/server")
USER = "tclap"
NEEDED_MB = {"/storage": 500, "/artifacts": 500, "/dev/shm": 256}
REMEDY = {
    "/storage": "free space where Docker keeps the volume tclap_storage",
    "/artifacts": "free space where Docker keeps the volume tclap_artifacts",
    "/dev/shm": "set CLUSTER_SHM_SIZE in docker/.env",
}


def main() -> None:
    check_space()
    check_dataset()
    make_secrets()


def check_space() -> None:
    for folder, needed_mb in NEEDED_MB.items():
        free_mb = shutil.disk_usage(folder).free // 1_000_000
        if free_mb < needed_mb:
            raise InputError(f"{folder} has {free_mb} MB free, and the cluster needs {needed_mb} MB: {REMEDY[folder]}")


def check_dataset() -> None:
    if not os.environ.get("TCLAP_DATA"):
        return
    given = f"TCLAP_DATA={os.environ['HOST_DATA']}, mounted at {os.environ['TCLAP_DATA']}"
    try:
        read_index(Path(os.environ["TCLAP_DATA"]))
    except InputError as error:
        raise InputError(f"{given}: {error}") from error
    except PermissionError as error:
        raise InputError(f"{given}: user {os.getuid()} may not read {error.filename}") from error


def make_secrets() -> None:
    """A file that is there is kept; the passwords are made together, so they agree."""
    if (SERVER / "complete").exists():
        return
    mlflow, postgres = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    write(JOBS / "ray-token", secrets.token_hex(32))
    # MLflow's client reads it as ~/.mlflow/credentials.
    write(JOBS / "credentials", f"[mlflow]\nmlflow_tracking_username = {USER}\nmlflow_tracking_password = {mlflow}\n")
    write(SERVER / "flask-secret-key", secrets.token_hex(32))
    write(SERVER / "pgpass", f"postgres:5432:*:mlflow:{postgres}\n")
    write(SERVER / "postgres-password", postgres, mode=0o440)  # PostgreSQL is another user, in this one's group
    write(
        SERVER / "basic_auth.ini",
        "[mlflow]\n"
        "default_permission = READ\n"
        "database_uri = postgresql+psycopg://mlflow@postgres/mlflow_auth\n"
        f"admin_username = {USER}\n"
        f"admin_password = {mlflow}\n",
    )
    write(SERVER / "complete", "")


def write(path: Path, text: str, mode: int = 0o400) -> None:
    path.unlink(missing_ok=True)  # of a first start that was cut short
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    run_or_exit(main)
