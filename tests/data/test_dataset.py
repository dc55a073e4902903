import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tclap.data import dataset as datasets
from tclap.data.dataset import Dataset
from tclap.errors import InputError

RATE = 16_000
REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "esc50"
real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"real ESC-50 clips are not at {REAL}")


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        [
            ("1-a-A-7.wav", 1, 7, "door_wood_knock", False, "a", "A"),
            ("2-b-A-7.wav", 2, 7, "door_wood_knock", False, "b", "A"),
            ("1-c-A-2.wav", 1, 2, "dog", True, "c", "A"),
            ("2-d-A-2.wav", 2, 2, "dog", True, "d", "A"),
        ],
        columns=list(datasets.COLUMNS),
    )


def tone(seconds: float = 0.5, rate: int = RATE, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def write(root: Path, table: pd.DataFrame) -> Path:
    (root / "meta").mkdir(parents=True)
    (root / "audio").mkdir()
    table.to_csv(root / "meta" / "esc50.csv", index=False)
    for name in table.get("filename", pd.Series(dtype=str)).dropna().unique():
        soundfile.write(root / "audio" / name, tone(), RATE)
    return root


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    return datasets.read_index(write(tmp_path / "small", rows()))


def one_line(caught: pytest.ExceptionInfo, *words: object) -> None:
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message


def test_index(small: Dataset) -> None:
    assert small.class_names == ("dog", "door wood knock")  # in the order of target, without underscores
    assert small.class_ids.tolist() == [1, 1, 0, 0]
    assert small.folds.tolist() == [1, 2, 1, 2]
    assert small.clips_in((2,)).tolist() == [1, 3]
    assert small.clips_in((1, 2)).tolist() == [0, 1, 2, 3]
    assert small.clips_in(()).tolist() == []
    assert small.path(2) == small.root / "audio" / "1-c-A-2.wav"


def test_recordings_are_the_source_files(tmp_path: Path) -> None:
    assert datasets.read_index(write(tmp_path / "own", rows())).recordings.tolist() == [0, 1, 2, 3]
    shared = rows().assign(src_file=["17", "9", "17", None])
    assert datasets.read_index(write(tmp_path / "shared", shared)).recordings.tolist() == [0, 1, 0, 2]
    without = datasets.read_index(write(tmp_path / "without", rows().drop(columns=["src_file", "esc10", "take"])))
    assert without.recordings.tolist() == [0, 1, 2, 3]


def cell(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype(object)
        table.loc[1, column] = value
        return table

    return change


INDEX_FAULTS = {
    "no fold": (lambda t: t.drop(columns="fold"), "lacks the columns fold"),
    "two columns gone": (lambda t: t.drop(columns=["filename", "target"]), "filename, target"),
    "fold is a word": (cell("fold", "two"), "line 3: fold 'two' is not a whole number"),
    "fold is a fraction": (cell("fold", 1.5), "line 3: fold"),
    "fold is empty": (cell("fold", None), "line 3: fold"),
    "fold is infinite": (cell("fold", "inf"), "line 3: fold"),
    "target is a word": (cell("target", "dog"), "line 3: target 'dog' is not a whole number"),
    "target is infinite": (cell("target", "-inf"), "line 3: target"),
    "no clips": (lambda t: t.iloc[:0], "lists no clips"),
    "no category": (cell("category", None), "line 3: category '' holds no word"),
    "no filename": (cell("filename", None), "line 3 has an empty filename"),
    "twice": (cell("filename", "1-a-A-7.wav"), "lists 1-a-A-7.wav twice, in lines 2 and 3"),
    "two names for a target": (
        cell("category", "cat"),
        "target 7 is 'cat' here and 'door wood knock' in line 2",
    ),
    "two targets for a name": (cell("target", 9), "line 3: 'door wood knock' has target 9 here and 7 in line 2"),
    "names equal but for underscores": (
        lambda t: t.assign(category=["door_wood", "door_wood", "door wood", "door wood"]),
        "line 4: 'door wood' has target 2 here and 7 in line 2",
    ),
    "names equal but for case": (
        lambda t: t.assign(category=["hum", "hum", "Hum", "Hum"]),
        "line 2 writes 'hum', which reads the same",
    ),
    "names equal but for punctuation": (
        lambda t: t.assign(category=["can opening", "can opening", "can-opening", "can-opening"]),
        "line 2 writes 'can opening', which reads the same",
    ),
    "names equal but for how é is written": (
        lambda t: t.assign(category=["cafe\u0301", "cafe\u0301", "caf\u00e9", "caf\u00e9"]),
        "line 4: 'caf\u00e9' has target 2 here and 7 in line 2",
    ),
    "a name without a word": (cell("category", "?!"), "line 3: category '?!' holds no word"),
    "fold is huge": (cell("fold", 10**30), "line 3: fold"),
    "a file twice, in two ways of writing é": (
        lambda t: t.assign(filename=["cafe\u0301.wav", "caf\u00e9.wav", "3.wav", "4.wav"]),
        "twice, in lines 2 and 3",
    ),
}


@pytest.mark.parametrize(("change", "words"), INDEX_FAULTS.values(), ids=INDEX_FAULTS)
def test_index_faults_name_the_file(tmp_path: Path, change: Callable, words: str) -> None:
    root = write(tmp_path / "bad", change(rows()))
    with pytest.raises(InputError) as caught:
        datasets.read_index(root)
    one_line(caught, root / "meta" / "esc50.csv", words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: its first line"),
        (b"\xff\xfe\x00\x01\x02\n", "is in UTF-16"),
        (b"a,b\n1,2\n1,2,3,4\n", "line 3 has 4 values for 2 columns"),
        (b"hello\n", "lacks the columns"),
    ],
)
def test_an_index_that_is_no_csv(tmp_path: Path, content: bytes, words: str) -> None:
    root = write(tmp_path / "bad", rows())
    (root / "meta" / "esc50.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        datasets.read_index(root)
    one_line(caught, root / "meta" / "esc50.csv", words)


def test_no_index(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError) as caught:
            datasets.read_index(root)
        one_line(caught, root / "meta" / "esc50.csv", "not found")


def test_folds_that_do_not_exist(small: Dataset) -> None:
    with pytest.raises(InputError) as caught:
        datasets.check_folds(small, {"train_folds": (1,), "eval_folds": (4,)})
    one_line(caught, "eval_folds names fold 4", small.root, "[1, 2]")
    datasets.check_folds(small, {"train_folds": (1,), "eval_folds": (2,)})


def test_a_class_without_clips_in_a_fold_set(tmp_path: Path) -> None:
    table = rows()
    table.loc[1, "fold"] = 1  # fold 2 has no door any more
    data = datasets.read_index(write(tmp_path / "bad", table))
    with pytest.raises(InputError) as caught:
        datasets.check_folds(data, {"train_folds": (1,), "eval_folds": (2,)})
    one_line(caught, "'door wood knock' has no clip in eval_folds [2]")
    assert "dog" not in str(caught.value)
    problems = datasets.fold_problems(data, {"train_folds": (3,), "eval_folds": (2,)})
    assert len(problems) == 2  # all of them, not the first


def test_one_class_makes_no_pair(tmp_path: Path) -> None:
    data = datasets.read_index(write(tmp_path / "bad", rows().iloc[:2]))
    with pytest.raises(InputError) as caught:
        datasets.check_folds(data, {"train_folds": (1,), "eval_folds": (2,)})
    one_line(caught, data.root, "at least two")
    assert len(datasets.fold_problems(data, {})) == 1


def test_digest_sees_audio_and_index(small: Dataset, tmp_path: Path) -> None:
    before = datasets.digest(small)
    moved = shutil.copytree(small.root, tmp_path / "elsewhere")
    assert datasets.digest(datasets.read_index(moved)) == before
    soundfile.write(moved / "audio" / small.filenames[0], tone(hz=441), RATE)
    heard = datasets.digest(datasets.read_index(moved))
    assert heard != before
    csv = moved / "meta" / "esc50.csv"
    csv.write_text(csv.read_text().replace("dog", "cat"))
    assert datasets.digest(datasets.read_index(moved)) != heard


def test_digest_names_all_missing_files(small: Dataset) -> None:
    for clip in (0, 3):
        small.path(clip).unlink()
    with pytest.raises(InputError) as caught:
        datasets.digest(small)
    one_line(caught, "1-a-A-7.wav: missing", "2-d-A-2.wav: missing", "2 unusable")


@real_data
def test_real_index() -> None:
    data = datasets.read_index(REAL)
    assert len(data.class_names) == 50
    assert data.class_names[0] == "dog"
    folds = sorted(set(data.folds.tolist()))
    assert len(data.filenames) == 400 * len(folds)
    datasets.check_folds(data, {f"fold {fold}": (fold,) for fold in folds})
