"""A hundred things that people type, set and have on their disks, against the real commands.

Each exits with 2 and one line on stderr, without a traceback or a password, and leaves the storage as it was.
"""

import importlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mlflow import MlflowClient

from tclap import cli
from tclap.console import run_or_exit
from tclap.sweep.ledger import Result, write_result
from tclap.training import checkpoint

ROOT = Path(__file__).parents[1]
PASSWORD = "hunter2"
LOGIN = f"me:{PASSWORD}@127.0.0.1:9"


@dataclass(frozen=True)
class Given:
    """What a case may spoil, all of it its own: a dataset, a checkpoint, captions, a storage with a finished seed."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def csv(self) -> Path:
        return self.data / "meta" / "esc50.csv"

    @property
    def clip(self) -> Path:
        return sorted((self.data / "audio").iterdir())[0]

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def storage(self) -> Path:
        return self.folder / "runs"

    @property
    def captions(self) -> Path:
        return self.folder / "captions.csv"


@dataclass(frozen=True)
class Case:
    """A command, in words of which `{name}` is a path of what is given; what is done before; what the line must say."""

    command: str
    says: str
    spoil: Callable[[Given], object] = lambda given: None
    environment: dict[str, str] = field(default_factory=dict)


SWEEP = "table4.py|--data|{data}|--storage|{storage}|--batch-sizes|4"
SEARCH = "search.py|--data|{data}|--storage|{storage}|--batch-sizes|4"
CHECK = "tclap|data|check|{data}"
TRAIN = "tclap|train|--data|{data}|--storage|{storage}|--batch-size|4"
SCORE = "tclap|score|{checkpoint}|{clip}"
ZSTE = "tclap|zste|--data|{data}|--storage|{storage}"
RETRIEVAL = "tclap|retrieval|--model|{checkpoint}|--audio|{data}/audio|--captions|{captions}"
BEST = "tclap|best|--name|s|--storage|{storage}"


def text(change: Callable[[str], str]) -> Callable[[Given], object]:
    return lambda given: given.csv.write_text(change(given.csv.read_text()))


def line(number: int, change: Callable[[str], str]) -> Callable[[Given], object]:
    def spoil(given: Given) -> None:
        lines = given.csv.read_text().splitlines()
        lines[number - 1] = change(lines[number - 1])
        given.csv.write_text("\n".join(lines) + "\n")

    return spoil


def column(number: int, value: str) -> Callable[[Given], object]:
    return line(5, lambda row: ",".join([*row.split(",")[:number], value, *row.split(",")[number + 1 :]]))


def captions(content: str | bytes) -> Callable[[Given], object]:
    return lambda given: given.captions.write_bytes(content if isinstance(content, bytes) else content.encode())


def clip(change: Callable[[bytes], bytes]) -> Callable[[Given], object]:
    return lambda given: given.clip.write_bytes(change(given.clip.read_bytes()))


def sound(samples: np.ndarray, rate: int = 16_000, **options: str) -> Callable[[Given], object]:
    return lambda given: soundfile.write(given.clip, samples, rate, **options)


def encoded(kind: str, part: float, **options: str) -> Callable[[Given], object]:
    def spoil(given: Given) -> None:
        scratch = given.folder / f"scratch.{kind}"
        soundfile.write(scratch, np.random.default_rng(0).standard_normal(40_000) * 0.1, 16_000, **options)
        raw = scratch.read_bytes()
        given.clip.write_bytes(raw[: int(part * len(raw))])

    return spoil


def config(change: Callable[[str], str]) -> Callable[[Given], object]:
    def spoil(given: Given) -> None:
        place = given.checkpoint / "config.json"
        place.write_text(change(place.read_text()))

    return spoil


def tensors(change: Callable[[bytes], bytes]) -> Callable[[Given], object]:
    def spoil(given: Given) -> None:
        place = given.checkpoint / "model.safetensors"
        place.write_bytes(change(place.read_bytes()))

    return spoil


def database(change: Callable[[bytes], bytes]) -> Callable[[Given], object]:
    def spoil(given: Given) -> None:
        place = given.storage / "mlflow.db"
        place.write_bytes(change(place.read_bytes()))

    return spoil


def sql(statement: str) -> Callable[[Given], object]:
    def spoil(given: Given) -> None:
        with sqlite3.connect(given.storage / "mlflow.db") as opened:
            opened.execute(statement)

    return spoil


def replaced_by_folder(place: str) -> Callable[[Given], object]:
    def spoil(given: Given) -> None:
        path = getattr(given, place)
        path.unlink()
        path.mkdir()

    return spoil


def there(place: str, content: bytes | None = None) -> Callable[[Given], object]:
    """Something else lies at this place below what is given: these bytes, or a folder."""

    def spoil(given: Given) -> None:
        path = given.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if content is None else path.write_bytes(content)

    return spoil


def provenance(value: object) -> Callable[[Given], object]:
    return config(lambda text: json.dumps({**json.loads(text), "provenance": value}))


def classes_of_an_old_disk(given: Given) -> None:
    """A folder for each class, one of them named in Latin-1."""
    for name in (b"hum", b"caf\xe9"):
        folder = os.fsencode(given.folder / "classes") + b"/" + name
        os.makedirs(folder)
        shutil.copy(given.clip, folder + b"/a.wav")


def mlflow(uri: str) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": uri}


HEADER = "filename,fold,target,category\n"
CASES = [
    # flags
    Case(SWEEP + "|--batch-sizes|0", "--batch-sizes 0: Input should be greater than or equal to 1"),
    Case("table4.py|--batch-sizes|[]", "--batch-sizes needs one value or more, each named once"),
    Case(SWEEP + "|--batch-sizes|many", "--batch-sizes 'many'"),
    Case(SWEEP + "|--batch-sizes|16", "over the bound of 15"),
    Case(SWEEP + "|--seeds|0,0", "--seeds needs one value or more, each named once"),
    Case(SWEEP + "|--seeds|-1", "--seeds -1: Input should be greater than or equal to 0"),
    Case(SWEEP + "|--lr|nan", "--lr"),
    Case(SWEEP + "|--lr|-1", "--lr"),
    Case(SWEEP + "|--model|mimi", "--model 'mimi'"),
    Case(SWEEP + "|--name|a/b", "--name 'a/b'"),
    Case(SWEEP + "|--train-folds|1,4", "fold 4 is in both"),
    Case(SWEEP + "|--test-folds|9", "test_folds names fold 9"),
    Case(SWEEP + "|--eval-folds|[]", "eval_folds is empty"),
    Case(SWEEP + "|--holdout-classes|5", "leaves fewer than two"),
    Case(SWEEP + "|--bogus", "unrecognized arguments: --bogus"),
    Case(SWEEP + "|--seeds", "argument --seeds"),
    Case(SWEEP + "|surplus", "unrecognized arguments: surplus"),
    Case(SWEEP + "|--use-gpu|--workers|2|--gpus-per-worker|0.5", "NCCL refuses"),
    Case(SWEEP + "|--retrieval|clotho", "--retrieval is written as NAME=AUDIO_FOLDER,CAPTIONS_CSV"),
    Case(SWEEP + "|--retrieval|c=a,b|--retrieval|c=c,d", "--retrieval names c twice; give each set"),
    Case(SWEEP + "|--retrieval|x={folder}/none,{captions}", "is not a folder of audio files"),
    Case(SEARCH + "|--objectives|zste/9", "--objectives 'zste/9': an objective is one of"),
    Case(SEARCH + "|--objectives|zste/1,zste/1", "--objectives needs one value or more, each named once"),
    Case(SEARCH + "|--stages|[]", "--stages needs one value or more, each named once"),
    Case(SEARCH + "|--lrs|1,1", "--lrs names a learning rate twice"),
    Case(SEARCH + "|--lrs|0", "--lrs 0: Input should be greater than 0"),
    Case("findings.py|--folds|[]", "--folds needs one value or more, each named once"),
    Case(SEARCH + "|--sampler|luck", "--sampler 'luck'"),
    Case(SEARCH + "|--trials|0", "--trials"),
    Case(SEARCH + f"|--study|postgresql+psycopg2://{LOGIN}/x", "--study: Optuna cannot use this database"),
    Case(SEARCH + "|--study|nonsense", "--study"),
    Case("tclap", "a command is missing: data, models"),
    Case("tclap|scor", "invalid choice: 'scor'"),
    Case("tclap|train|--alpha-st|0.5", "--any-alpha"),
    Case("tclap|best|--name|s|--storage|{storage}|--bogus", "unrecognized arguments: --bogus"),
    Case(TRAIN + "|--name|../x", "--name '../x'"),
    Case(TRAIN + "|--name|t", "runs/t cannot be written to", there("runs/t", b"")),
    Case(ZSTE + "|--model|{checkpoint}|--json|{folder}", "is a folder: name a file"),
    Case(RETRIEVAL + "|--json|/proc/x/y.json", "/proc/x/y.json cannot be written"),
    Case("tclap|data|synth|{captions}", "captions.csv is not an empty folder"),
    Case("tclap|data|synth|/proc/x", "/proc/x cannot be written to"),
    Case("tclap|data|preview|{data}|{captions}", "captions.csv is not an empty folder"),
    Case("tclap|data|preview|{data}|{folder}/out|--window-s|1e-9", "--window-s '1e-9'"),
    Case("tclap|data|preview|{data}|{folder}/out|--sample-rate-hz|9999999999", "--sample-rate-hz '9999999999'"),
    Case("tclap|data|import|{data}|{captions}", "captions.csv is not an empty folder"),
    Case("tclap|export|{checkpoint}|{captions}", "captions.csv is not an empty folder"),
    Case("tclap|check-model|{checkpoint}|--weights|x", "is a checkpoint, which says itself"),
    # the environment
    Case(SWEEP, "--seeds", environment={"TCLAP_SEEDS": "x,1"}),
    Case(SWEEP, "--seeds", environment={"TCLAP_SEEDS": "[0,"}),
    Case(SWEEP, "--eval-folds", environment={"TCLAP_EVAL_FOLDS": "four"}),
    Case(SWEEP, "lacks its beginning: write http://127.0.0.1:5000", environment=mlflow("127.0.0.1:5000")),
    Case(SWEEP, "has a blank in it", environment=mlflow(f"http://me:{PASSWORD}@127.0.0.1: 5000")),
    Case(SWEEP, "three slashes", environment=mlflow("sqlite://mlflow.db")),
    Case(SWEEP, "a folder is no store any more", environment=mlflow("mlruns")),
    Case(SWEEP, "MLflow at http://me:***@127.0.0.1:9", environment=mlflow(f"http://{LOGIN}")),
    Case(SWEEP, "no driver for its database", environment=mlflow(f"mysql+pymysql://{LOGIN}/x")),
    Case(SWEEP, "use `ray job submit`", environment={"RAY_ADDRESS": "http://head:8265"}),
    Case(SWEEP, "names no port", environment={"RAY_ADDRESS": "localhost"}),
    Case(SWEEP, "no Ray cluster", environment={"RAY_ADDRESS": f"ray://{LOGIN}"}),
    Case(SWEEP, "set RAY_TMPDIR to a short folder", environment={"TMPDIR": "/tmp/" + "x" * 90}),
    # datasets
    Case("tclap|data|check|{folder}/none", "not found: a dataset is a folder or a csv"),
    Case("table4.py|--data|{folder}/none|--storage|{storage}", "not found"),
    Case(CHECK, "not found", replaced_by_folder("csv")),
    Case(CHECK, "is empty", text(lambda t: "")),
    Case(CHECK, "lists no clips", text(lambda t: HEADER)),
    Case(CHECK, "lacks the columns fold", text(lambda t: t.replace("fold", "foldd", 1))),
    Case(CHECK, "between semicolons", text(lambda t: t.replace(",", ";"))),
    Case(CHECK, "between tabs", text(lambda t: t.replace(",", "\t"))),
    Case(CHECK, "line 5: fold 'two' is not a whole number", column(1, "two")),
    Case(CHECK, "line 5: fold '' is not a whole number", column(1, "")),
    Case(CHECK, "line 5: target '1.5'", column(2, "1.5")),
    Case(CHECK, "line 5 has an empty filename", column(0, "")),
    Case(CHECK, "line 5: category '' holds no word", column(3, "")),
    Case(CHECK, "which reads the same", text(lambda t: t.replace("ticks", "Hum"))),
    Case(CHECK, "line 5: target 0 is 'None' here", column(3, "None")),
    Case(CHECK, "twice, in lines 2 and 62", text(lambda t: t + t.splitlines()[1] + "\n")),
    Case(CHECK, "line 5 has 3 value(s) for 7 columns", line(5, lambda row: ",".join(row.split(",")[:3]))),
    Case(CHECK, "line 5 has 8 values for 7 columns", line(5, lambda row: row + ",x")),
    Case(CHECK, "line 4: fold 'one'", text(lambda t: t.replace("\n", "\n\n\n", 1).replace(",1,0,", ",one,0,", 1))),
    Case(CHECK, "line 5: a quote is opened and not closed", line(5, lambda row: '"' + row)),
    Case(CHECK, "is in UTF-16", lambda g: g.csv.write_text(g.csv.read_text(), encoding="utf-16")),
    Case(
        CHECK,
        "line 5 is not in UTF-8",
        lambda g: (column(3, "café")(g), g.csv.write_bytes(g.csv.read_text().encode("latin-1"))),
    ),
    Case(CHECK, "holds a NUL byte", text(lambda t: t[:100] + "\0" + t[100:])),
    Case(CHECK, "names the column 'fold' twice", text(lambda t: t.replace("take", "fold", 1))),
    Case(
        "tclap|data|check|{folder}/classes",
        r"the folder caf\xe9 has a name that is not in UTF-8",
        classes_of_an_old_disk,
    ),
    # sound
    Case(TRAIN, "1 unusable file(s)", lambda g: g.clip.unlink()),
    Case(TRAIN, "unreadable", clip(lambda raw: b"")),
    Case(TRAIN, "unreadable", clip(lambda raw: b"<html>404</html>" * 100)),
    Case(TRAIN, "cut short: its header promises", clip(lambda raw: raw[: len(raw) // 2])),
    Case(TRAIN, "cut short: its last page is missing", encoded("ogg", 0.5, format="OGG", subtype="VORBIS")),
    Case(TRAIN, "cut short: its header promises", encoded("aiff", 0.7, format="AIFF")),
    Case(TRAIN, "unreadable", encoded("flac", 0.7, format="FLAC")),
    Case(SWEEP, "empty", sound(np.zeros(0))),
    Case(SWEEP, "silent at", sound(np.zeros(16_000))),
    Case(SWEEP, "holds NaN", sound(np.full(16_000, np.nan), subtype="FLOAT")),
    Case(SWEEP, "its sample rate is", sound(np.ones(100) * 0.1, rate=100)),
    Case(SWEEP, "missing", replaced_by_folder("clip")),
    Case(
        "tclap|score|{checkpoint}|{folder}/a.raw|a dog",
        "raw samples say neither",
        lambda g: (g.folder / "a.raw").write_bytes(b"12" * 99),
    ),
    # score
    Case("tclap|score|{checkpoint}|none.wav|a dog", "no such file: none.wav"),
    Case("tclap|score|{checkpoint}|dog, close.wav|a dog", "no such file: dog, close.wav"),
    Case(SCORE, "a text is missing"),
    Case(SCORE + "|", "a text is empty"),
    Case(SCORE + "|a dog|b.m4a", "no such file: b.m4a"),
    Case(SCORE + "|a dog|data/audio", "data/audio is a folder: name the files in it"),
    Case("tclap|score|{checkpoint}|[dog] before cat", "an audio file is missing"),
    Case("tclap|score|{folder}/none|{clip}|a dog", "is not a tclap checkpoint"),
    # checkpoints and weights
    Case(SCORE + "|a dog", "cannot be read", config(lambda t: "{")),
    Case(SCORE + "|a dog", "lacks model or fingerprint", config(lambda t: "[]")),
    Case(SCORE + "|a dog", "fingerprint", config(lambda t: t.replace('"fingerprint": "', '"fingerprint": "0'))),
    Case(SCORE + "|a dog", "cannot be read", tensors(lambda raw: b"")),
    Case(SCORE + "|a dog", "cannot be read", tensors(lambda raw: raw[: len(raw) // 2])),
    Case(SCORE + "|a dog", "cannot be read", lambda g: (g.checkpoint / "model.safetensors").unlink()),
    Case(ZSTE + "|--model|{checkpoint}", "does not say what the checkpoint was trained on", provenance([])),
    Case(ZSTE + "|--model|{checkpoint}", "config.json does not say", provenance({"configuration": {"data": 3}})),
    Case(ZSTE + "|--model|clapp", "unknown model 'clapp'"),
    Case(ZSTE + "|--folds|9", "folds names fold 9"),
    Case(ZSTE + "|--model|laion|--weights|{folder}/none", "{folder}/none"),
    # captions
    Case(RETRIEVAL, "cannot be read: No such file", lambda g: g.captions.unlink()),
    Case(RETRIEVAL, "cannot be read: Is a directory", replaced_by_folder("captions")),
    Case(RETRIEVAL, "a caption file has", captions("a,b\n1,2\n")),
    Case(RETRIEVAL, "line 3 has 3 values for 2 columns", captions("file_name,caption_1\na,b\nc,a dog, then a cat\n")),
    Case(RETRIEVAL, "line 3 has 1 value(s)", captions("file_name,caption_1\na,a dog\nthen a cat\n")),
    Case(RETRIEVAL, "between semicolons", captions("file_name;caption_1\na.wav;a dog\n")),
    Case(RETRIEVAL, "line 2 is not in UTF-8", captions("file_name,caption_1\na,café\n".encode("latin-1"))),
    Case(RETRIEVAL, "has no captions for a", captions("file_name,caption_1\na.wav,\n")),
    Case(RETRIEVAL, "1 of 1 clips are missing", captions('file_name,caption_1\na.wav,"a dog,\nthen a cat"\n')),
    # what a sweep has left
    Case(SWEEP, "table4/sweep.json is damaged", there("runs/table4/sweep.json", b"")),
    Case(SWEEP, "sweep.json is damaged: it says which settings", there("runs/table4/sweep.json", b"[]")),
    Case(SWEEP, "table4/sweep.json cannot be read: Is a directory", there("runs/table4/sweep.json")),
    Case(SWEEP, "not a result of this version of tclap", there("runs/table4/trials/0/seed-0/result.json", b"\0" * 99)),
    Case(SWEEP, "seed-0/result.json cannot be read: Is a directory", there("runs/table4/trials/0/seed-0/result.json")),
    Case(SWEEP, "driver.lock: Is a directory", there("runs/table4/driver.lock")),
    Case(SWEEP, "runs/cache/decoded: Not a directory", there("runs/cache", b"")),
    Case(SEARCH, "study.journal cannot be read: Is a directory", there("runs/search/study.journal")),
    Case(SEARCH + "|--study|sqlite:///{folder}/s.db", "file is not a database", there("s.db", b"no database " * 999)),
    Case(SEARCH + "|--study|sqlite:///{folder}/none/s.db", "unable to open database file"),
    # stores
    Case("tclap|best|--name|s|--storage|{folder}/none", "no MLflow store at"),
    Case(BEST, "no sweep 's' in MLflow"),
    Case(BEST, "file is not a database", database(lambda raw: b"no database " * 1000)),
    Case(BEST, "cannot be used", database(lambda raw: raw[: len(raw) // 2])),
    Case(BEST, "mlflow db upgrade", sql("update alembic_version set version_num = '451aebb31d03'")),
    Case(
        BEST,
        "is deleted; to have it back",
        sql("update experiments set lifecycle_stage = 'deleted' where name = 'tclap'"),
    ),
    Case(BEST, "MLflow at http://me:***@127.0.0.1:9", environment=mlflow(f"http://{LOGIN}")),
    Case(BEST, "no driver for its database", environment=mlflow(f"mysql+pymysql://{LOGIN}/x")),
]
NAMES_OWN = ("driver.lock", "study-owner")  # a lock that nobody holds, and the name of a folder
passed: list[Case] = []


@pytest.fixture(scope="module")
def template(tmp_path_factory, root):
    """What every case gets a copy of."""
    from tclap.data.captions import vocabulary
    from tclap.data.dataset import read_index
    from tclap.models.mini import Mini

    folder = tmp_path_factory.mktemp("given")
    given = Given(folder)
    shutil.copytree(root, given.data)
    checkpoint.save(given.checkpoint, Mini(vocabulary(read_index(root).class_names), init_seed=0), {})
    given.captions.write_text(f"file_name,caption_1\n{given.clip.name},a dog\n")
    given.storage.mkdir()
    write_result(given.storage / "earlier" / "trials" / "0123" / "seed-0", Result("0123", 0, {}, 1.0, 3, "here"))
    MlflowClient(f"sqlite:///{given.storage}/mlflow.db").create_experiment("tclap")
    return folder


@pytest.fixture
def run(template, tmp_path, monkeypatch):
    """Run a case's command in this process, and give back what it had; Ray must not be reached."""
    import ray

    def refuse(**options):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.syspath_prepend(str(ROOT / "sweeps"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)

    def run(case: Case) -> tuple[int, dict[str, bytes], dict[str, bytes], Given]:
        shutil.copytree(template, tmp_path / "given")
        given = Given(tmp_path / "given")
        monkeypatch.chdir(given.folder)
        names = {name: getattr(given, name) for name in ("folder", "data", "clip", "checkpoint", "storage", "captions")}
        case.spoil(given)
        for name, value in case.environment.items():
            monkeypatch.setenv(name, value)
        before = contents(given.storage)
        script, *flags = (word.format(**names) for word in case.command.split("|"))
        monkeypatch.setattr(sys, "argv", [script, *flags])
        main = cli.main if script == "tclap" else importlib.import_module(script.removesuffix(".py")).main
        with pytest.raises(SystemExit) as stopped:
            run_or_exit(main)
        return stopped.value.code, before, contents(given.storage), given

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("case", CASES, ids=[f"{n}: {case.says[:40]}" for n, case in enumerate(CASES)])
def test_it_is_one_line(case: Case, run, capsys) -> None:
    code, before, after, given = run(case)
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    assert code == 2, (out, err)
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert case.says.format(folder=given.folder) in lines[0]
    assert "Traceback" not in out + err
    assert PASSWORD not in out + err
    # What was there is as it was; what is new is what may be there without a run: caches, and a lock.
    assert {name: after.get(name) for name in before} == before
    new = {name for name in after.keys() - before.keys() if not name.startswith("cache/")}
    assert new <= {f"{name}/{file}" for name in ("table4", "search") for file in NAMES_OWN}
    passed.append(case)


def test_a_hundred_of_a_hundred() -> None:
    print(f"{len(passed)} of {len(CASES)} bad inputs: exit code 2, one line, storage unchanged", file=sys.__stdout__)
    assert len(CASES) >= 100
    assert len({(case.command, case.says, str(case.environment)) for case in CASES}) >= 95, "they are different ones"
