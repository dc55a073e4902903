"""What people have, as a dataset in ESC-50's layout: cut out, converted and given folds where that is needed.

| what is there | what becomes of it |
|---|---|
| a table with times (`timed.py`) | every stretch in which one event is heard alone is a clip |
| any layout that is read as it is (`layouts.py`) | the same clips, with the folds that were given or drawn |
| among them files that libsndfile does not read | FLAC, if ffmpeg is on the PATH |
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from tclap.data.audio import FOR_FFMPEG, decode_problems, raise_problems, unreadable
from tclap.data.dataset import COLUMNS
from tclap.data.layouts import FOLDS, draw_folds, read_dataset
from tclap.data.table import read_table
from tclap.data.timed import heard_alone, read_spans, scheme
from tclap.errors import InputError
from tclap.places import check_new_folder

SHORTEST_S = 0.5


@dataclass(frozen=True)
class Clip:
    """A clip to be: a file, or a part of it in seconds, and what is heard."""

    source: Path
    recording: str
    label: str
    start_s: float = 0.0
    end_s: float | None = None  # None: all of the file


def import_dataset(source: Path, out: Path, seed: int = 0, shortest_s: float = SHORTEST_S) -> str:
    """Write the dataset that `source`, a folder or a table, holds to `out`, a new or empty folder; one line says what.

    seed: of the folds, if none are given: each recording lies whole in one. shortest_s: what is cut out of a
    recording is at least so long. Raises InputError: nothing that is known lies there, a file is missing or unusable,
    ffmpeg is needed and not there, `out` holds something, or no event is heard in enough recordings.
    """
    check_new_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    table = timed_table(source)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        root = Path(scratch) / out.name
        (root / "audio").mkdir(parents=True)
        (root / "meta").mkdir()
        line = _import_spans(table, root, seed, shortest_s) if table else _import_files(source, root, seed)
        if out.exists():
            out.rmdir()
        root.rename(out)
    return f"{source} read as {line}, in {out}"


def timed_table(source: Path) -> Path | None:
    """The table with times that `source` is, or the only one in that folder; None if there is none."""
    tables = sorted([*source.glob("*.csv"), *source.glob("*.tsv")]) if source.is_dir() else [source]
    if (source / "meta" / "esc50.csv").is_file() or not source.exists():
        return None
    timed = [file for file in tables if file.suffix.lower() in (".csv", ".tsv") and scheme(read_table(file)[0])]
    if len(timed) > 1:
        raise InputError(f"{source} has several tables with times: {', '.join(file.name for file in timed)}; name one")
    return timed[0] if timed else None


def _import_files(source: Path, root: Path, seed: int) -> str:
    """Whole files, in any layout that is read as it is."""
    dataset, line = read_dataset(source, seed)
    files = [dataset.path(clip) for clip in range(len(dataset.filenames))]
    raise_problems(dataset.audio, [f"{file.name}: {problem}" for file in files if (problem := unreadable(file))])
    names = _distinct(dataset.filenames)
    foreign = [file for file in files if not _is_read(file)]
    needs_ffmpeg(foreign)
    to_convert = set(foreign)

    def write(file: Path, name: str) -> str:
        if file in to_convert:
            name = f"{name}.flac"
            convert(file, root / "audio" / name)
        else:
            shutil.copyfile(file, root / "audio" / name)
        return name

    with ThreadPoolExecutor() as pool:
        written = list(pool.map(write, files, names))
    labels = [dataset.class_names[c] for c in dataset.class_ids]
    _write_index(root, written, dataset.folds, dataset.class_ids, labels, [str(n) for n in dataset.recordings])
    note = f", {len(foreign)} file(s) converted to FLAC" if foreign else ""
    return line.partition(" read as ")[2] + note


def _import_spans(table: Path, root: Path, seed: int, shortest_s: float) -> str:
    """The stretches of recordings in which one event is heard alone."""
    recordings = read_spans(table)
    places = {name: _recording(table.parent, name) for name in recordings}
    raise_problems(table.parent, [f"{name}: {bad}" for name, place in places.items() if (bad := unreadable(place))])
    clips = [
        Clip(places[name], name, span.caption, span.start_s, span.end_s)
        for name, spans in recordings.items()
        for span in heard_alone(spans, shortest_s)
    ]
    events = len({span.caption for spans in recordings.values() for span in spans})
    frequent = _in_enough_recordings(clips)
    with tempfile.TemporaryDirectory(dir=root.parent) as scratch:
        readable = _readable({clip.source for clip in frequent}, Path(scratch))
        cut = [replace(clip, source=readable[clip.source]) for clip in frequent]
        written, unusable = _cut(cut, root / "audio", shortest_s)
    kept = {clip: name for name, clip in written.items()}
    clips = _in_enough_recordings(written.values())
    names = [kept[clip] for clip in clips]
    for name in written.keys() - set(names):
        (root / "audio" / name).unlink()
    classes = sorted({clip.label for clip in clips})
    if len(classes) < 2:
        raise InputError(
            f"{table}: {len(classes)} of {events} events are heard alone for {shortest_s:g} s in {FOLDS} recordings or "
            "more, and training needs two; tclap order timed asks about the recordings as they are"
            f"{_unusable_note(unusable)}"
        )
    class_ids = np.array([classes.index(clip.label) for clip in clips])
    numbers = {name: n for n, name in enumerate(dict.fromkeys(clip.recording for clip in clips))}
    folds = draw_folds(class_ids, np.array([numbers[clip.recording] for clip in clips]), FOLDS, seed)
    _write_index(root, names, folds, class_ids, [c.label for c in clips], [str(numbers[c.recording]) for c in clips])
    left_out = events - len(classes)
    rare = f"; {left_out} event(s) left out, heard alone in fewer than {FOLDS} recordings" if left_out else ""
    return (
        f"a table with times: {len(clips)} stretches of {shortest_s:g} s or more in which one of {len(classes)} events "
        f"is heard alone, from {len(numbers)} recordings, {FOLDS} folds drawn by recording with seed {seed}{rare}"
        f"{_unusable_note(unusable)}"
    )


def _unusable_note(unusable: Sequence[str]) -> str:
    if not unusable:
        return ""
    more = f" and {len(unusable) - 3} more" if len(unusable) > 3 else ""
    return f"; {len(unusable)} stretch(es) left out: {', '.join(unusable[:3])}{more}"


def _recording(folder: Path, name: str) -> Path:
    """Where a recording lies: in `audio/` beside the table, or beside it."""
    return next((place for place in (folder / "audio" / name, folder / name) if place.is_file()), folder / name)


def _in_enough_recordings(clips: Iterable[Clip]) -> list[Clip]:
    """The clips of events that are heard in as many recordings as there are folds: each fold needs every class."""
    clips = list(clips)
    recordings = Counter(label for label, _ in {(clip.label, clip.recording) for clip in clips})
    return [clip for clip in clips if recordings[clip.label] >= FOLDS]


def _cut(clips: Sequence[Clip], folder: Path, shortest_s: float) -> tuple[dict[str, Clip], list[str]]:
    """Write each clip to `folder`: file name -> clip; and a line for each that turns out too short or silent."""
    recordings = sorted({clip.recording for clip in clips})
    stem_of = dict(zip(recordings, _stems(recordings), strict=True))

    def write(clip: Clip) -> Path | str:
        with soundfile.SoundFile(clip.source) as file:
            first, last = (round(time * file.samplerate) for time in (clip.start_s, clip.end_s or 0.0))
            if min(last, file.frames) - first < shortest_s * file.samplerate:
                return f"{_place(clip)} (the file ends at {file.frames / file.samplerate:.3g} s)"
            file.seek(first)
            wave = file.read(last - first, dtype="float32", always_2d=True)
            place = folder / f"{stem_of[clip.recording]}-{round(1000 * clip.start_s):07d}.flac"
            soundfile.write(place, wave, file.samplerate, subtype="PCM_16" if file.subtype == "PCM_16" else "PCM_24")
        return place

    with ThreadPoolExecutor() as pool:
        made = list(zip(pool.map(write, clips), clips, strict=True))
    written = {place: clip for place, clip in made if isinstance(place, Path)}
    unusable = [line for line, _ in made if isinstance(line, str)]
    for place, problem in decode_problems(written).items():
        place.unlink()
        unusable.append(f"{_place(written.pop(place))} ({problem.removeprefix(f'{place.name}: ')})")
    return {place.name: clip for place, clip in written.items()}, unusable


def _place(clip: Clip) -> str:
    return f"{clip.recording} at {clip.start_s:g} s"


def _readable(files: Iterable[Path], scratch: Path) -> dict[Path, Path]:
    """Each file -> itself, or what ffmpeg made of it in `scratch`."""
    found = {file: file for file in files}
    foreign = sorted(file for file in found if not _is_read(file))
    needs_ffmpeg(foreign)
    for n, file in enumerate(foreign):
        found[file] = scratch / f"{n}.flac"
        convert(file, found[file])
    return found


def _is_read(file: Path) -> bool:
    """Whether libsndfile knows the format."""
    if file.suffix.lower() in FOR_FFMPEG:
        return False
    try:
        soundfile.info(file)
    except soundfile.LibsndfileError:
        return False
    return True


def needs_ffmpeg(files: Sequence[Path]) -> None:
    """Raise InputError, naming some of `files`, if there are any and ffmpeg is not on the PATH."""
    if files and shutil.which("ffmpeg") is None:
        few = ", ".join(file.name for file in files[:5]) + (", ..." if len(files) > 5 else "")
        raise InputError(f"{len(files)} file(s) need ffmpeg to be converted, and it is not on the PATH: {few}")


def convert(file: Path, out: Path) -> None:
    """Write the sound of `file`, a video's too, as FLAC, at its own rate and with its own channels."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(file), "-vn", "-map_metadata", "-1", str(out)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise InputError(f"{file}: ffmpeg cannot convert it: {reason[-1]}")


def _distinct(filenames: Sequence[str]) -> list[str]:
    """Each file's own name, or with its folders before it if another folder has one of that name; never one twice."""
    often = Counter(Path(name).name for name in filenames)
    names: dict[str, None] = {}  # in order
    for name in filenames:
        path = Path(name if often[Path(name).name] == 1 else name.replace("/", "-"))
        others = (f"{path.stem}-{n}{path.suffix}" for n in itertools.count(2))  # dog/1.wav beside dog-1.wav
        names[next(free for free in itertools.chain([path.name], others) if free not in names)] = None
    return list(names)


def _stems(recordings: Sequence[str]) -> list[str]:
    """Each recording's name as the beginning of a file's: without its ending, unless two differ in nothing else."""
    names = _distinct(recordings)
    often = Counter(Path(name).stem for name in names)
    return [Path(name).stem if often[Path(name).stem] == 1 else name for name in names]


def _write_index(
    root: Path,
    names: Sequence[str],
    folds: np.ndarray,
    class_ids: np.ndarray,
    labels: Sequence[str],
    recordings: Sequence[str],
) -> None:
    rows = zip(names, folds, class_ids, labels, [False] * len(names), recordings, ["A"] * len(names), strict=True)
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("filename")
    frame.to_csv(root / "meta" / "esc50.csv", index=False, encoding="utf-8")
