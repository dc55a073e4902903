"""Random bytes in every kind of file that people bring: the readers answer, or raise InputError, and nothing else."""

import contextlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tclap.data.audio import decode, decode_problems, without_length
from tclap.data.dataset import digest, read_index
from tclap.errors import InputError
from tclap.evaluation.captioned import read_captions
from tclap.models import weights
from tclap.models.mini import Mini
from tclap.sweep import study as studies
from tclap.sweep.journal import set_aside_if_damaged
from tclap.sweep.ledger import read_result
from tclap.sweep.outcome import Outcome
from tclap.training import checkpoint

often = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
# Bytes as they are, and text that comes close to what is expected.
cell = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["1", "2", "a.wav", '"', "None", "é", "-1", ""]
)
rows = st.lists(st.lists(cell, max_size=6).map(",".join), max_size=6).map("\n".join)


def table(header: str) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=300) | rows.map(lambda body: f"{header}\n{body}".encode())


def answers(read, *arguments: object) -> None:
    """`read` returns, or raises InputError."""
    with contextlib.suppress(InputError):
        read(*arguments)


@often
@given(table("filename,fold,target,category"))
@example(b"filename,fold,target,category\na.wav,1,1,dog\r\rb.wav,1,2,cat\n")
@example("filename,fold,target,category\na.wav,1,1,d\u2028og\n".encode())
@example(b"filename,fold,target,category\n\0.wav,1,1,dog\n")
@example(b"filename,fold,target,category\n" + b"x" * 300 + b".wav,1,1,dog\n")
def test_an_index(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "meta").mkdir(exist_ok=True)
    (tmp_path / "meta" / "esc50.csv").write_bytes(content)

    def index() -> None:
        digest(read_index(tmp_path))

    answers(index)


@often
@given(table("audiocap_id,youtube_id,start_time,caption") | table("file_name,caption_1,caption_2"))
def test_captions(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "captions.csv").write_bytes(content)
    answers(read_captions, tmp_path / "captions.csv")


KINDS = {
    "wav": {"format": "WAV"},
    "rf64": {"format": "RF64"},
    "w64": {"format": "W64"},
    "aiff": {"format": "AIFF"},
    "au": {"format": "AU"},
    "caf": {"format": "CAF"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sounds")
    wave = 0.1 * np.random.default_rng(0).standard_normal(4000)
    for kind, options in KINDS.items():
        soundfile.write(folder / kind, wave, 16_000, **options)
    return {kind: (folder / kind).read_bytes() for kind in KINDS}


@often
@given(
    kind=st.sampled_from(sorted(KINDS)),
    changes=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=6),
    length=st.integers(0, 12_000),
    suffix=st.sampled_from(["wav", "mp3", "raw", ""]),
)
@example(kind="w64", changes=[(62, 1)], length=64, suffix="wav")
def test_sound(sounds, tmp_path: Path, kind, changes, length, suffix) -> None:
    """Whole or cut files, with bytes of the header changed."""
    raw = bytearray(sounds[kind][:length])
    for at, value in changes:
        if at < len(raw):
            raw[at] = value
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(raw)
    answers(decode, path, 16_000)
    decode_problems([path])
    without_length([path])


@often
@given(st.binary(max_size=400))
def test_sound_of_no_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    answers(decode, tmp_path / "a.wav", 16_000)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("journal") / "study.journal"
    study = studies.open_study("s", file, "random", 0, ["x"])
    for value in (1.0, 2.0):
        trial = studies.ask(study, {"a": (0, 1, 2)}, 3, False, 0)
        studies.tell(study, trial.number, Outcome([value]))
    return file.read_bytes()


record = st.recursive(
    st.none() | st.integers(-2, 12) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["op_code", "trial_id", "study_id", "worker_id", "state"]), inner, max_size=4)
    ),
    max_leaves=5,
)


@often
@given(
    changes=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=4)), max_size=4),
    length=st.integers(0, 6000),
    more=st.lists(record.map(json.dumps), max_size=2).map("\n".join),
)
@example(changes=[], length=6000, more='{"op_code": 4, "worker_id": "w", "study_id": 99}\n')
@example(changes=[], length=6000, more='{"op_code": true}\n')
@example(changes=[], length=6000, more='{"op_code": 99}\n')
def test_a_journal(journal, tmp_path: Path, changes, length, more) -> None:
    """What is not set aside, Optuna opens."""
    raw = bytearray(journal[:length])
    for at, value in changes:
        raw[at : at + len(value)] = value
    file = tmp_path / "study.journal"
    file.write_bytes(raw + more.encode())
    answers(set_aside_if_damaged, file)
    study = studies.open_study("s", file, "random", 0, ["x"])
    studies.visited(study, {"a": (0, 1, 2)})
    file.unlink()
    for kept in tmp_path.glob("*.damaged-*"):
        kept.unlink()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("checkpoint")
    checkpoint.save(folder / "c", Mini(("before", "dog"), init_seed=0), {})
    return {name: (folder / "c" / name).read_bytes() for name in (checkpoint.CONFIG, checkpoint.TENSORS)}


@settings(often, max_examples=60)
@given(
    name=st.sampled_from([checkpoint.CONFIG, checkpoint.TENSORS]),
    changes=st.lists(st.tuples(st.integers(0, 600), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
    length=st.none() | st.integers(0, 3000),
)
@example(name=checkpoint.CONFIG, changes=[(0, b'{"model": 1, "fingerprint": 2}')], length=30)
@example(name=checkpoint.CONFIG, changes=[(0, b"[" * 3000)], length=3000)
def test_a_checkpoint(saved, tmp_path: Path, name, changes, length) -> None:
    raw = bytearray(saved[name][:length])
    for at, value in changes:
        raw[at : at + len(value)] = value
    for other, content in saved.items():
        (tmp_path / other).write_bytes(raw if other == name else content)
    answers(checkpoint.load, tmp_path)


@often
@given(
    content=st.binary(max_size=300) | st.text(max_size=60).map(str.encode) | st.builds(pickle.dumps, record),
    suffix=st.sampled_from(["pth", "pt", "bin", "safetensors"]),
)
@example(content=b"state\n", suffix="pt")
@example(content=b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", suffix="pth")
@example(content=b"<!DOCTYPE html><html>", suffix="safetensors")
def test_weights(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"weights.{suffix}"
    file.write_bytes(content)
    answers(weights.read, file)


@often
@given(st.binary(max_size=100) | record.map(lambda value: json.dumps(value).encode()))
@example(b'{"retrieval": {}, "scores": {"1": {}}}')
@example(b'{"retrieval": [], "scores": 1}')
def test_a_result(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "result.json").write_bytes(content)
    answers(read_result, tmp_path)
