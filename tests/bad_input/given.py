"""What a case of bad input is given, and the ways to spoil it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile


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
    return lambda given: rewritten(given.clip, change)


def sound(samples: np.ndarray, rate: int = 16_000, **options: str) -> Callable[[Given], object]:
    return lambda given: soundfile.write(given.clip, samples, rate, **options)


def encoded(kind: str, part: float, **options: str) -> Callable[[Given], object]:
    def spoil(given: Given) -> None:
        scratch = given.folder / f"scratch.{kind}"
        soundfile.write(scratch, np.random.default_rng(0).standard_normal(40_000) * 0.1, 16_000, **options)
        raw = scratch.read_bytes()
        given.clip.write_bytes(raw[: int(part * len(raw))])

    return spoil


def rewritten(file: Path, change: Callable[[bytes], bytes]) -> None:
    file.write_bytes(change(file.read_bytes()))


def config(change: Callable[[str], str]) -> Callable[[Given], object]:
    return lambda given: rewritten(given.checkpoint / "config.json", lambda raw: change(raw.decode()).encode())


def tensors(change: Callable[[bytes], bytes]) -> Callable[[Given], object]:
    return lambda given: rewritten(given.checkpoint / "model.safetensors", change)


def database(change: Callable[[bytes], bytes]) -> Callable[[Given], object]:
    return lambda given: rewritten(given.storage / "mlflow.db", change)


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
