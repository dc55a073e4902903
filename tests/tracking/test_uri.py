"""Where people say that MLflow is, and how it fails there."""

import os
import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from tclap.errors import InputError
from tclap.places import at
from tclap.redact import without_passwords
from tclap.tracking import runs as tracking
from tclap.tracking.read import existing_store
from tclap.tracking.uri import absolute, answering, browse_command, database_file, is_away, page_at, tracking_uri

PASSWORD = "hunter2"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A store's file, to be copied: making one takes seconds, and a process remembers the stores that it has opened."""
    file = tmp_path_factory.mktemp("sound") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").create_experiment("tclap")
    return file


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("sqlite:///mlflow.db", "sqlite:///{}/mlflow.db"),
        ("sqlite:///./deep/../mlflow.db", "sqlite:///{}/mlflow.db"),
        ("sqlite:///m.db?timeout=30", "sqlite:///{}/m.db?timeout=30"),
        ("sqlite:///~/m.db", os.path.expanduser("sqlite:///~/m.db").replace("~", os.path.expanduser("~"))),
        ("  sqlite:///with blank.db ", "sqlite:///{}/with blank.db"),
        ("sqlite+pysqlite:///m.db", "sqlite+pysqlite:///{}/m.db"),
        ("mlruns", "{}/mlruns"),
        ("./mlruns", "{}/mlruns"),
        ("file:mlruns", "file://{}/mlruns"),
        ("file:./mlruns", "file://{}/mlruns"),
        ("file:///over/there", "file:///over/there"),
        ("sqlite:////over/there.db", "sqlite:////over/there.db"),
        ("/over/there", "/over/there"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        (" https://mlflow.example/path\n", "https://mlflow.example/path"),
        ("postgresql://u:p@db/mlflow", "postgresql://u:p@db/mlflow"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
    ],
)
def test_a_local_store_is_the_same_from_every_folder(tmp_path, monkeypatch, given, path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    uri = tracking_uri(tmp_path / "runs")
    assert uri == path.format(tmp_path)
    assert absolute(uri) == uri


@pytest.mark.parametrize("given", ["", "   ", "\n"])
def test_nothing_but_blanks_is_not_set(tmp_path, monkeypatch, given):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"


REFUSED = {
    "127.0.0.1:5000": "lacks its beginning: write http://127.0.0.1:5000",
    "localhost:5000": "lacks its beginning: write http://localhost:5000",
    "mlflow.example.com:443/path": "write http://mlflow.example.com:443/path",
    "localhost": "write http://localhost",
    "[::1]:5000": "write http://[::1]:5000",
    f"me:{PASSWORD}@mlflow:5000": "lacks its beginning",
    "http:/mlflow:5000": "begins with http:// or https://",
    "http//mlflow:5000": "begins with http:// or https://",
    "http:mlflow": "begins with http:// or https://",
    "http://": "names no host",
    "http://mlflow: 5000": "has a blank in it",
    f"http://me:{PASSWORD}@ml flow": "has a blank in it",
    "postgresql://u:p@d b/x": "has a blank in it",
    "http://mlflow:50000000": "Port",
    "http://mlflow:port": "Port",
    "http://[::1": "IPv6",
    "sqlite://mlflow.db": "three slashes",
    "sqlite:mlflow.db": "three slashes",
    "sqlite://": "three slashes",
    "sqlite:///": "in memory",
    "sqlite:///:memory:": "in memory",
}


@pytest.mark.parametrize(("given", "words"), REFUSED.items(), ids=REFUSED)
def test_an_address_that_is_none_is_refused_by_the_variables_name(tmp_path, monkeypatch, given, words):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    with pytest.raises(InputError) as caught:
        tracking_uri(tmp_path)
    assert words in str(caught.value)
    assert "MLFLOW_TRACKING_URI" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_storage_as_part_of_an_address(sound, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("with blank", "brackets [1]", "100%", "a#b", "ümlaut"):
        storage = at(str(tmp_path / name))
        storage.mkdir()
        shutil.copy(sound, tmp_path / name / "mlflow.db")
        uri = tracking_uri(storage)
        assert tracking.connect(uri, storage)[1] == "1"  # the experiment of that file
        assert database_file(uri) == tmp_path / name / "mlflow.db"
    with pytest.raises(InputError, match=r"would end at '[?]'"):
        tracking_uri(tmp_path / "what?")


@pytest.mark.parametrize(
    "text",
    [
        f"http://me:{PASSWORD}@mlflow:5000",
        f"postgresql://me:{PASSWORD}@db/x and mysql+pymysql://you:{PASSWORD}@db/y",
        f"http://me:p@{PASSWORD}@mlflow",
        f"http://:{PASSWORD}@mlflow",
        f"postgresql://db/x?user=me&password={PASSWORD}&sslmode=require",
        f"HTTPConnectionPool(host='x'): http://me:{PASSWORD}@mlflow:5000/api",
        f"s3://bucket?token={PASSWORD}",
    ],
)
def test_no_password_is_shown(text):
    assert PASSWORD not in without_passwords(text)
    assert "***" in without_passwords(text)


@pytest.mark.parametrize("text", ["http://mlflow:5000/@x", "sqlite:////a:b@c/d.db", "a: b@c", "5:30 @noon"])
def test_what_is_no_password_stays(text):
    assert without_passwords(text) == text


def damaged(name: str, sound: Path, folder: Path) -> str:
    """The address of a store that is there and cannot be used."""
    raw = sound.read_bytes()
    file = folder / "mlflow.db"
    file.write_bytes(raw)
    if name == "no database":
        file.write_bytes(b"no database at all " * 1000)
    elif name == "cut":
        file.write_bytes(raw[: len(raw) // 2])
    elif name == "another version":
        with sqlite3.connect(file) as database:
            database.execute("update alembic_version set version_num = '451aebb31d03'")
    elif name == "a table is missing":
        with sqlite3.connect(file) as database:
            database.execute("drop table experiments")
    elif name == "deleted":
        client = MlflowClient(f"sqlite:///{file}")
        client.delete_experiment(client.get_experiment_by_name("tclap").experiment_id)
    elif name == "a folder of runs":
        return str(folder / "mlruns")
    elif name == "no driver":
        return f"mysql+pymysql://me:{PASSWORD}@127.0.0.1/x"
    elif name == "nobody":
        return f"http://me:{PASSWORD}@127.0.0.1:9"
    return f"sqlite:///{file}"


STORES = {
    "no database": "file is not a database (its database cannot be used",
    "cut": "its database cannot be used",
    "another version": "Back it up, and bring it up to date: mlflow db upgrade",
    "a table is missing": "",
    "deleted": "is deleted; to have it back: MLFLOW_TRACKING_URI=",
    "a folder of runs": "a folder is no store any more",
    "no driver": "there is no driver for its database here (No module named 'pymysql')",
    "nobody": "the same command goes on from there",
}


@pytest.mark.parametrize(("name", "words"), STORES.items(), ids=STORES)
def test_a_store_that_cannot_be_used_is_one_line(sound, tmp_path, monkeypatch, capfd, name, words):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = damaged(name, sound, tmp_path)
    capfd.readouterr()

    def sweep():
        with answering(uri):
            tracking.connect(uri, tmp_path)

    def best():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        existing_store(tmp_path)

    for command in (sweep, best):
        with pytest.raises(InputError) as caught:
            command()
        line = " ".join(str(caught.value).split())
        assert words in line
        assert PASSWORD not in line
        assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_dead_proxy_is_named_without_its_password_and_is_nothing_to_a_local_store(
    sound, tmp_path, monkeypatch, proxy
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv(proxy, f"http://me:{PASSWORD}@127.0.0.1:9")
    shutil.copy(sound, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert existing_store(tmp_path)[1] == "1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.invalid:5000")
    with pytest.raises(InputError) as caught:
        existing_store(tmp_path)
    line = str(caught.value)
    assert line.startswith("MLflow at http://mlflow.invalid:5000: ")
    assert "proxy" in line
    assert "\n" not in line
    assert PASSWORD not in line


def test_the_command_that_restores_an_experiment_does(sound, tmp_path):
    uri = damaged("deleted", sound, tmp_path)
    with pytest.raises(InputError) as caught:
        tracking.connect(uri, tmp_path)
    command = shlex.split(str(caught.value).partition("to have it back: ")[2])
    assert command[:5] == [f"MLFLOW_TRACKING_URI={uri}", "mlflow", "experiments", "restore", "-x"]
    MlflowClient(uri).restore_experiment(command[5])
    assert tracking.connect(uri, tmp_path)[1] == command[5]


def locked(statement: str) -> OperationalError:
    return OperationalError(statement, {}, sqlite3.OperationalError("database is locked"))


def test_a_locked_database_is_away_and_a_foreign_one_is_not(tmp_path):
    assert is_away(locked("select 1"))
    assert is_away(MlflowException("(sqlite3.OperationalError) database is locked", TEMPORARILY_UNAVAILABLE))
    assert not is_away(MlflowException("(sqlite3.OperationalError) no such column: x", TEMPORARILY_UNAVAILABLE))
    assert not is_away(MlflowException("bad parameter"))
    assert not is_away(ValueError("of the trial's own code"))


def sooner(connection, cursor, statement, parameters, context, executemany):
    return statement.replace("busy_timeout = 20000", "busy_timeout = 200"), parameters


@pytest.fixture
def impatient():
    """MLflow waits 0.2 s for SQLite's lock, instead of 20 s."""
    event.listen(Engine, "before_cursor_execute", sooner, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", sooner)


@pytest.mark.usefixtures("impatient")
def test_a_database_that_is_locked_in_earnest_is_away(tmp_path):
    client, experiment = tracking.connect(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("begin exclusive")
    with pytest.raises(MlflowException) as given_up:
        client.create_run(experiment)
    assert is_away(given_up.value)
    holder.rollback()


@pytest.mark.parametrize(
    ("uri", "named", "page"),
    [
        ("sqlite:///m.db", None, "http://127.0.0.1:5000"),
        ("sqlite:///m.db", "http://box:8080", "http://box:8080"),
        (f"http://me:{PASSWORD}@box", None, "http://me:***@box"),
        ("http://mlflow:5000", "http://127.0.0.1:5001", "http://127.0.0.1:5001"),
    ],
)
def test_the_page_is_where_people_say_whatever_the_store(uri, named, page):
    assert page_at(uri, named) == page


def test_the_command_to_browse_is_quoted_for_the_shell():
    command = shlex.split(browse_command("sqlite:////with blank/$HOME/mlflow.db"))
    assert command == "mlflow ui --backend-store-uri|sqlite:////with blank/$HOME/mlflow.db|--port 5000".replace(
        " --backend", "|--backend"
    ).replace("mlflow ui", "mlflow|ui").replace("--port 5000", "--port|5000").split("|")
    assert os.sep in command[3]
