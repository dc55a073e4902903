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
    "no category": (cell("category", None), "empty filename or category"),
    "no filename": (cell("filename", None), "empty filename or category"),
    "twice": (cell("filename", "1-a-A-7.wav"), "lists 1-a-A-7.wav twice"),
    "two names for a target": (cell("category", "cat"), "one to one"),
    "two targets for a name": (cell("target", 9), "one to one"),
    "names equal but for underscores": (
        lambda t: t.assign(category=["door_wood", "door_wood", "door wood", "door wood"]),
        "one to one",
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
        (b"", "not a readable csv"),
        (b"\xff\xfe\x00\x01\x02\n", "not a readable csv"),
        (b"a,b\n1,2\n1,2,3,4\n", "not a readable csv"),
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


def test_decode_keeps_mono_as_it_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype="FLOAT")
    wave = datasets.decode(tmp_path / "a.wav", RATE)
    assert wave.dtype == np.float32
    np.testing.assert_array_equal(wave, tone().astype(np.float32))


def test_decode_mixes_stereo(tmp_path: Path) -> None:
    """Stereo is mixed, not read as a mono clip of double length."""
    left, right = tone(), 0.5 * tone(hz=880)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(datasets.decode(tmp_path / "a.wav", RATE), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_decode_resamples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(1.0, 48_000), 48_000)
    wave = datasets.decode(path, RATE)
    assert len(wave) == RATE
    middle = slice(1000, -1000)  # the resampling filter has edges
    np.testing.assert_allclose(wave[middle], tone(1.0)[middle], atol=0.02 if suffix == "ogg" else 1e-3)


@pytest.mark.parametrize("samples", [1, 7, 800])
def test_decode_takes_short_clips(tmp_path: Path, samples: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(samples, 0.5), 48_000)
    wave = datasets.decode(tmp_path / "a.wav", RATE)
    assert len(wave) == -(-samples // 3)
    assert np.isfinite(wave).all()


def spoil_missing(path: Path) -> None:
    path.unlink()


def spoil_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def spoil_zero_bytes(path: Path) -> None:
    path.write_bytes(b"")


def spoil_text(path: Path) -> None:
    path.write_text("this is no sound at all " * 40)


def spoil_empty(path: Path) -> None:
    soundfile.write(path, np.zeros(0), RATE)


def spoil_silent(path: Path) -> None:
    soundfile.write(path, np.full(RATE, 5e-5), RATE, subtype="FLOAT")


def spoil_nan(path: Path) -> None:
    wave = tone()
    wave[100] = np.nan
    soundfile.write(path, wave, RATE, subtype="FLOAT")


def spoil_opposite_channels(path: Path) -> None:
    soundfile.write(path, np.stack([tone(), -tone()], axis=1), RATE)


def spoil_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILE_FAULTS = {
    spoil_missing: "missing",
    spoil_truncated: "unreadable",
    spoil_zero_bytes: "unreadable",
    spoil_text: "unreadable",
    spoil_empty: "empty",
    spoil_silent: "silent",
    spoil_nan: "NaN",
    spoil_opposite_channels: "silent",
    spoil_folder: "missing",
}


@pytest.mark.parametrize(("spoil", "word"), FILE_FAULTS.items())
def test_decode_faults_name_the_file(tmp_path: Path, spoil: Callable[[Path], None], word: str) -> None:
    path = tmp_path / "clip 1.wav"
    soundfile.write(path, tone(), RATE)
    spoil(path)
    for rate in (RATE, 44_100):
        with pytest.raises(InputError) as caught:
            datasets.decode(path, rate)
        one_line(caught, "clip 1.wav", word)


def test_problems_are_all_listed_in_order(tmp_path: Path) -> None:
    table = pd.concat([rows()] * 4, ignore_index=True)
    table["filename"] = [f"{n}.wav" for n in range(len(table))]
    data = datasets.read_index(write(tmp_path / "bad", table))
    paths = [data.path(clip) for clip in range(16)]
    assert datasets.decode_problems(paths) == {}
    at = dict(zip(range(1, 16, 2), FILE_FAULTS.items(), strict=False))
    for clip, (spoil, _) in at.items():
        spoil(data.path(clip))
    lines = list(datasets.decode_problems(paths).values())
    assert [line.split(":")[0] for line in lines] == [f"{clip}.wav" for clip in at]
    assert all(word in line for line, (_, word) in zip(lines, at.values(), strict=True))
    assert list(datasets.decode_problems(paths[1:4])) == [paths[1], paths[3]]
    with pytest.raises(InputError) as caught:
        datasets.raise_problems(data.audio, lines)
    one_line(caught, data.root / "audio", f"{len(at)} unusable", *lines)
    datasets.raise_problems(data.audio, [])


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


@real_data
def test_real_clips_decode() -> None:
    data = datasets.read_index(REAL)
    clips = range(0, len(data.filenames), 160)
    assert datasets.decode_problems(map(data.path, clips)) == {}
    for clip in clips:
        wave = datasets.decode(data.path(clip), 44_100)
        assert len(wave) / 44_100 == pytest.approx(5.0, abs=0.1)
