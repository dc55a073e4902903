"""Where MLflow is, and what keeps it from answering.

A local store's address is made absolute once, in the driver: workers run in folders of their own, where a relative one
would name another database. Passwords are in addresses, so nothing here or elsewhere is printed but through
`without_passwords`.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE, ErrorCode
from requests.exceptions import RequestException
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from tclap.errors import InputError
from tclap.places import Place
from tclap.redact import without_passwords

LOCAL_PAGE = "http://127.0.0.1:5000"  # where `browse_command` puts it
VARIABLE = "MLFLOW_TRACKING_URI"
SQLITE = re.compile(r"(sqlite(?:\+\w+)?):(/{0,3})(.*)", re.DOTALL)
ERRORS = (MlflowException, SQLAlchemyError, RequestException, ImportError, OSError)  # what opening a store raises


def tracking_uri(storage: Place) -> str:
    """MLFLOW_TRACKING_URI, made absolute, or SQLite below `storage`.

    Raises InputError if neither is possible, or if the variable names no place that MLflow would understand.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if given:
        return absolute(given)
    if not isinstance(storage, Path):
        raise InputError(f"--storage {storage} cannot hold MLflow's database: set {VARIABLE} to a server")
    database = storage.resolve() / "mlflow.db"
    if "?" in str(database):
        raise InputError(f"--storage {storage}: the address of MLflow's database would end at '?'; rename it")
    return f"sqlite:///{database}"


def absolute(uri: str) -> str:
    """`uri` with a local path in it made absolute. Raises InputError, naming MLFLOW_TRACKING_URI, if it is none."""
    uri = uri.strip()
    wrong = f"{VARIABLE}={without_passwords(uri)}"
    sqlite = SQLITE.fullmatch(uri)
    if sqlite:
        driver, slashes, rest = sqlite.groups()
        path, mark, options = rest.partition("?")
        if slashes != "///":
            raise InputError(f"{wrong}: SQLite's address has three slashes and a path: sqlite:///mlflow.db")
        if not path or path.startswith(":"):
            raise InputError(f"{wrong} is a database in memory, which ends with each process: give it a path")
        return f"{driver}:///{os.path.abspath(os.path.expanduser(path))}{mark}{options}"
    if re.fullmatch(r"file:(?!//[^/]).*", uri, re.DOTALL):
        return Path(os.path.abspath(unquote(re.sub("^file:(//)?", "", uri)))).as_uri()
    if "://" in uri:
        _check_url(uri, wrong)
        return uri
    if re.fullmatch(r"(databricks|databricks-uc|uc)(:.*)?", uri):
        return uri
    if re.match(r"https?:|https?/", uri, re.IGNORECASE):
        raise InputError(f"{wrong}: a server's address begins with http:// or https://")
    if re.fullmatch(r"[\w.-]+:\d*(/.*)?|localhost(/.*)?|\[[0-9a-fA-F:]+\](:\d+)?(/.*)?", uri):
        raise InputError(f"{wrong} lacks its beginning: write http://{without_passwords(uri)}")
    if "@" in uri.partition("/")[0]:
        raise InputError(f"{VARIABLE} lacks its beginning (http://, postgresql:// and so on)")  # it may hold a password
    return os.path.abspath(os.path.expanduser(uri))


def _check_url(uri: str, wrong: str) -> None:
    if re.search(r"\s", uri):
        raise InputError(f"{wrong} has a blank in it")
    if not uri.lower().startswith(("http://", "https://")):
        return
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"{wrong}: {error}") from error
    if not host:
        raise InputError(f"{wrong} names no host: write http://HOST:PORT")


def database_file(uri: str) -> Path | None:
    """The file of a SQLite store, by its absolute address; None for another one."""
    found = SQLITE.fullmatch(uri)
    return Path(found[3].partition("?")[0]) if found else None


def page_at(uri: str, named: str | None = None) -> str:
    """Where a browser finds MLflow: as `named`, or by `browse_command`, or else where the store is."""
    return without_passwords(named or (LOCAL_PAGE if uri.startswith("sqlite") else uri))


def browse_command(uri: str) -> str:
    """What to type to see a local store in a browser."""
    return f"mlflow ui --backend-store-uri {shlex.quote(without_passwords(uri))} --port 5000"


def check_not_deleted(experiment: Experiment, uri: str) -> None:
    """Raise InputError if the experiment was deleted: nothing can be logged to it, and its name stays taken."""
    if experiment.lifecycle_stage == LifecycleStage.DELETED:
        where = without_passwords(uri)
        restore = f"{VARIABLE}={shlex.quote(where)} mlflow experiments restore -x {experiment.experiment_id}"
        raise InputError(f"MLflow's experiment {experiment.name!r} at {where} is deleted; to have it back: {restore}")


def is_away(error: BaseException) -> bool:
    """Whether MLflow's server does not answer, or its database is locked or gone: what waiting may mend."""
    if isinstance(error, MlflowException):
        if isinstance(error.__context__, RequestException):
            return True
        away = error.error_code == ErrorCode.Name(TEMPORARILY_UNAVAILABLE)
    else:
        away = isinstance(error, OperationalError)
    return away and "no such " not in str(error)  # a table or a column: of a database that was made otherwise


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Raise InputError, in one line without passwords, if MLflow does not answer or refuses in the block."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints a traceback besides
    try:
        yield
    except ERRORS as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # whatever was written there
            raise InputError(f"{error} (what is done stays; make room, and the same command goes on)") from error
        raise InputError(f"MLflow at {without_passwords(uri)}: {_why(error, uri)}") from error


def _why(error: Exception, uri: str) -> str:
    text = without_passwords(" ".join(str(error).split("[SQL")[0].split("(Background on")[0].split()))
    if isinstance(error, ImportError):
        return f"there is no driver for its database here ({text})"
    if "out-of-date database schema" in text:
        upgrade = f"mlflow db upgrade {shlex.quote(without_passwords(uri))}"
        return f"{text.split('Take a backup')[0].strip()} Back it up, and bring it up to date: {upgrade}"
    if "maintenance mode" in text:
        return f"a folder is no store any more: set {VARIABLE} to sqlite:///PATH, or to a server with http:// before it"
    if is_away(error):
        return f"{text} (what is done stays; the same command goes on from there)"
    if isinstance(error, SQLAlchemyError) or isinstance(error.__context__, SQLAlchemyError):
        return f"{text} (its database cannot be used: put a backup in its place, or set {VARIABLE} to another one)"
    return text
