"""`tclap data import`: what has to be cut out or converted becomes a dataset that can be trained on."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tclap import cli
from tclap.config import DataSettings
from tclap.data.dataset import Dataset
from tclap.data.imported import _distinct, import_dataset
from tclap.data.layouts import read_dataset, read_index
from tclap.data.timed import Span, heard_alone
from tclap.errors import InputError
from tclap.evaluation.suites import read_suite
from tclap.evaluation.zste import build_suite
from tests.data.test_layouts import as_csv, as_folders, assert_same_items, table

RATE_HZ = 16_000
HZ = {"a dog barks": 300, "rain falls": 900, "a bell rings": 2000}


def recorded(folder: Path, count: int = 6) -> Path:
    """`count` recordings of 6 s: the three events one after another, the last two overlapping for half a second."""
    (folder / "audio").mkdir(parents=True)
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    rows: list[list[object]] = []
    for n in range(count):
        wave, starts = np.zeros(6 * RATE_HZ), (0.25, 2.25, 3.75)
        for start, event in zip(starts, np.roll(list(HZ), n), strict=True):
            at = round(start * RATE_HZ)
            wave[at : at + len(t)] += 0.3 * np.sin(2 * np.pi * HZ[event] * t)
            rows.append([f"street {n}.wav", start, start + 2, f"{event.capitalize()}."])
        soundfile.write(folder / "audio" / f"street {n}.wav", wave, RATE_HZ)
    rows.append(["street 0.wav", 0.0, 0.2, "Somebody coughs."])
    return table(folder / "events.csv", ["path", "start", "end", "caption"], rows)


def pitch_hz(path: Path) -> float:
    wave, rate_hz = soundfile.read(path)
    return float(np.abs(np.fft.rfft(wave)).argmax() * rate_hz / len(wave))


def test_events_with_times_become_clips_of_one_event_each(tmp_path: Path) -> None:
    line = import_dataset(recorded(tmp_path / "field"), tmp_path / "out")
    assert line == (
        f"{tmp_path / 'field' / 'events.csv'} read as a table with times: 18 stretches of 0.5 s or more in which one "
        "of 3 events is heard alone, from 6 recordings, 5 folds drawn by recording with seed 0; 1 event(s) left out, "
        f"heard alone in fewer than 5 recordings, in {tmp_path / 'out'}"
    )
    data, said = read_dataset(tmp_path / "out")
    assert "ESC-50's layout: 18 clips of 3 classes from 6 recordings, 5 folds" in said
    assert data.class_names == tuple(sorted(HZ))
    for clip, name in enumerate(data.filenames):
        wave, _ = soundfile.read(data.path(clip))
        assert len(wave) == RATE_HZ * (2 if name.endswith("-0000250.flac") else 1.5)  # the others overlap for 0.5 s
        assert pitch_hz(data.path(clip)) == pytest.approx(HZ[data.class_names[data.class_ids[clip]]], abs=2)
    for recording in range(6):
        assert len(set(data.folds[data.recordings == recording].tolist())) == 1
    folds = sorted(set(data.folds.tolist()))
    assert folds == [1, 2, 3, 4, 5]
    assert "a dog barks before rain falls" in build_suite(data, [4], DataSettings(eval_takes=1)).captions


def test_stretches_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    given = recorded(tmp_path / "field", count=7)
    wave, _ = soundfile.read(tmp_path / "field" / "audio" / "street 0.wav")
    wave[: 2 * RATE_HZ + RATE_HZ // 4] = 0  # its first event
    soundfile.write(tmp_path / "field" / "audio" / "street 0.wav", wave, RATE_HZ)
    ending, _ = soundfile.read(tmp_path / "field" / "audio" / "street 1.wav")
    soundfile.write(tmp_path / "field" / "audio" / "street 1.wav", ending[: 4 * RATE_HZ], RATE_HZ)
    line = import_dataset(given, tmp_path / "out")
    assert "19 stretches of 0.5 s or more" in line
    assert "; 2 stretch(es) left out: street 1.wav at 4.25 s (the file ends at 4 s), street 0.wav at 0.25 s (" in line
    assert f"(silent at {RATE_HZ} Hz (peak below 0.0001)), in {tmp_path / 'out'}" in line


def test_the_same_table_gives_order_items_from_the_recordings_as_they_are(tmp_path: Path) -> None:
    suite = read_suite("timed", recorded(tmp_path))
    own = [item for item in suite.items if item.audio.name == "street 1.wav"]
    # Rolled by one: bell, dog, rain, of which the last two overlap, and so have no order.
    assert {item.right for item in own} == {"a bell rings before a dog barks", "a bell rings before rain falls"}


def test_what_is_heard_alone() -> None:
    spans = [Span(0, 4, "a"), Span(3, 6, "b"), Span(3.5, 5, "b"), Span(6, 7, "b"), Span(9, 9.4, "a")]
    assert heard_alone(spans, 0.5) == [Span(0, 3, "a"), Span(4, 7, "b")]
    assert heard_alone(spans, 0.3)[-1] == Span(9, 9.4, "a")
    assert heard_alone([Span(0, 1, "a"), Span(0, 1, "b")], 0.1) == []


PUBLISHED = {
    "tacos": ("annotations_strong.csv", ["filename", "onset", "offset", "text"], ","),
    "dcase": ("validation.tsv", ["filename", "onset", "offset", "event_label"], "\t"),
    "own labels": ("labels.csv", ["path", "start", "end", "label"], ","),
}


@pytest.mark.parametrize("published", PUBLISHED)
def test_tables_as_they_are_published(published: str, tmp_path: Path) -> None:
    name, columns, comma = PUBLISHED[published]
    given = recorded(tmp_path / "field")
    lines = [line.split(",") for line in given.read_text().splitlines()[1:]]
    if name.endswith("tsv"):
        lines = [[*times, text.rstrip(".").replace(" ", "_")] for *times, text in lines]
        lines.append(["silence.wav", "", "", ""])
    text = "\n".join(comma.join(line) for line in [columns, *lines]) + "\n"
    given.unlink()
    (tmp_path / "field" / name).write_text(text)
    import_dataset(tmp_path / "field", tmp_path / "out")
    assert read_index(tmp_path / "out").class_names == tuple(sorted(HZ))
    assert len(read_suite("timed", tmp_path / "field" / name).items) == 6 * 2 + 3  # somebody coughs before all three


@pytest.mark.parametrize("convert", [as_csv, as_folders])
def test_any_layout_becomes_the_same_questions(convert, root: Path, tmp_path: Path) -> None:
    given = read_index(convert(read_index(root), tmp_path / "given"))
    source = tmp_path / "given"
    line = import_dataset(source, tmp_path / "out", seed=0)
    assert f"{source} read as a " in line
    again = read_index(tmp_path / "out")
    np.testing.assert_array_equal(again.folds, given.folds)
    np.testing.assert_array_equal(again.recordings, given.recordings)
    assert_same_items(given, again, [4])


def test_files_of_one_name_in_two_folders_stay_two(dataset: Dataset, tmp_path: Path) -> None:
    for clip, name in ((0, "dog/1.wav"), (1, "cat/1.wav"), (2, "cat/2.wav")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(dataset.path(clip), tmp_path / "in" / name)
    import_dataset(tmp_path / "in", tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out" / "audio")) == ["2.wav", "cat-1.wav", "dog-1.wav"]


def test_no_two_files_get_one_name_whatever_their_folders_are_called() -> None:
    files = ["dog-1.wav", "dog/1.wav", "cat/1.wav", "dog-1-2.wav"]
    assert _distinct(files) == ["dog-1.wav", "dog-1-2.wav", "cat-1.wav", "dog-1-2-2.wav"]


# Takes what tclap gives to ffmpeg, and knows one format: a wav with another ending.
FFMPEG = """#!{python}
import sys
import soundfile
source, out = sys.argv[sys.argv.index("-i") + 1], sys.argv[-1]
try:
    wave, rate = soundfile.read(open(source, "rb"))
except soundfile.LibsndfileError:
    sys.exit(source + ": Invalid data found when processing input")
soundfile.write(out, wave, rate)
"""


@pytest.fixture
def videos(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for each class, some of whose files libsndfile does not read, and a stand-in for ffmpeg."""
    source = as_folders(dataset, tmp_path / "videos")
    for file in sorted(source.rglob("*.wav"))[::3]:
        file.rename(file.with_suffix(".mp4"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").write_text(FFMPEG.format(python=sys.executable))
    (tmp_path / "bin" / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return source


def test_what_libsndfile_does_not_read_is_converted(videos: Path, dataset: Dataset, tmp_path: Path) -> None:
    assert ", 20 file(s) converted to FLAC" in import_dataset(videos, tmp_path / "out")
    made = read_index(tmp_path / "out")
    assert len(made.filenames) == 60
    wave = {Path(name).name.split(".")[0]: soundfile.read(made.path(n))[0] for n, name in enumerate(made.filenames)}
    for clip, name in enumerate(dataset.filenames):
        np.testing.assert_array_equal(wave[name.split(".")[0]], soundfile.read(dataset.path(clip))[0])


def test_without_ffmpeg_or_with_no_sound_it_is_one_line(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = sorted(videos.rglob("*.mp4"))[0]
    broken.unlink()
    broken.write_bytes(b"no sound")
    with pytest.raises(InputError, match=r"\.mp4: ffmpeg cannot convert it: .*Invalid data found"):
        import_dataset(videos, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"20 file\(s\) need ffmpeg to be converted, and it is not on the PATH: .*mp4"):
        import_dataset(videos, tmp_path / "out")


FAULTS = {
    "full": (lambda f: shutil.copytree(f, f.parent / "out"), "is not an empty folder"),
    "a recording is missing": (
        lambda f: (f / "audio" / "street 2.wav").unlink(),
        "1 unusable file.*street 2.wav: missing",
    ),
    "no table": (lambda f: (f / "events.csv").unlink(), "nothing else says what is in"),
    "several tables": (lambda f: shutil.copy(f / "events.csv", f / "more.csv"), "has several tables with times"),
    "a wrong time": (
        lambda f: (f / "events.csv").write_text("path,start,end,caption\nstreet 1.wav,1,x,a dog\n"),
        "line 2: end 'x' is not a time in seconds",
    ),
    "too rare": (
        lambda f: (f / "events.csv").write_text("path,start,end,caption\nstreet 1.wav,1,2,a dog\n"),
        "0 of 1 events are heard alone for 0.5 s in 5 recordings or more",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_in_one_line(fault: str, tmp_path: Path) -> None:
    make, message = FAULTS[fault]
    recorded(tmp_path / "field")
    make(tmp_path / "field")
    with pytest.raises(InputError, match=message) as caught:
        import_dataset(tmp_path / "field", tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_table_with_times_is_no_layout_and_says_what_to_do(tmp_path: Path) -> None:
    for place in (recorded(tmp_path), tmp_path):
        with pytest.raises(InputError, match="says when each sound is heard: tclap data import cuts them out"):
            read_index(place)


def test_from_times_to_a_trained_model_that_reads_captions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the command line: import, check, train, and score a recording with captions made of the csv's own."""
    recorded(tmp_path / "field", count=10)
    monkeypatch.chdir(tmp_path)

    def tclap(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["tclap", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 0
        return capsys.readouterr().out

    assert "one of 3 events" in tclap("data", "import", "field", "events")
    assert "30 clips of 3 classes, 0 problem(s)" in tclap("data", "check", "events")
    small = "--batch-size 3 --steps-a 2 --steps-b 4 --base-steps 3 --takes 2 --eval-takes 1".split()  # noqa: SIM905
    place = tclap("train", "--data", "events", *small).strip().rsplit("checkpoint: ", 1)[1]
    shown = tclap("score", place, "field/audio/street 0.wav", "a dog barks before rain falls")
    assert "a dog barks before rain falls" in " ".join(shown.split())
