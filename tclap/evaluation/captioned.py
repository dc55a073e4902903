"""The caption files of AudioCaps and Clotho, and the clips of a folder that they name.

AudioCaps: `audiocap_id,youtube_id,start_time,caption`, one line for each caption. Its audio goes by several names:
the YouTube id, with or without a "Y" before and "_<start time>" after it, or one of the clip's audiocap ids.
Clotho: `file_name,caption_1,...,caption_5`, one line for each clip. For either, a clip may have any suffix that a sound
of a dataset may have (`layouts.SOUNDS`); what has to be converted first is found, and refused when it is to be heard.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from tclap.data.audio import FOR_FFMPEG
from tclap.data.layouts import SOUNDS
from tclap.data.table import Row, check_separators, read_table
from tclap.errors import InputError

UNREAD = {".raw", *FOR_FFMPEG}  # those of SOUNDS that nothing here decodes
AUDIOCAPS = ("audiocap_id", "youtube_id", "start_time", "caption")


@dataclass(frozen=True)
class Captioned:
    """A clip's names, the preferred one first, and its captions."""

    names: tuple[str, ...]  # file names without suffix
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Clips:
    """The n clips of a folder that a caption file names."""

    folder: Path
    paths: tuple[Path, ...]
    captions: tuple[tuple[str, ...], ...]  # [n], each as many as the clip has
    missing: tuple[str, ...]  # named, but not there, or not usable

    def without(self, unusable: Container[Path]) -> Clips:
        """The clips less those files, which count as missing."""
        kept = [(path, own) for path, own in zip(self.paths, self.captions, strict=True) if path not in unusable]
        lost = tuple(_stem(path.name) for path in self.paths if path in unusable)
        paths, captions = (tuple(part) for part in zip(*kept, strict=True)) if kept else ((), ())
        return Clips(self.folder, paths, captions, self.missing + lost)


def read_captions(csv: Path) -> list[Captioned]:
    """The clips of an AudioCaps or Clotho caption file, in its order.

    Raises InputError naming the file, and the line if it is in one: unreadable, other columns, a clip without captions.
    """
    columns, rows = read_table(csv)
    if set(AUDIOCAPS) <= set(columns):
        clips = _audiocaps(rows)
    elif {"file_name", "caption_1"} <= set(columns):
        texts = [column for column in columns if column.startswith("caption_")]
        clips = _clotho(csv, rows, texts)
    else:
        check_separators(csv, columns)
        raise InputError(
            f"{csv} has the columns {', '.join(columns)}; a caption file has {', '.join(AUDIOCAPS)} (AudioCaps) "
            "or file_name, caption_1, ... (Clotho)"
        )
    if not clips:
        raise InputError(f"{csv} has no captions")
    for clip in clips:
        if not any(text.strip() for text in clip.captions):
            raise InputError(f"{csv} has no captions for {clip.names[0]}")
    return clips


def _audiocaps(rows: Sequence[Row]) -> list[Captioned]:
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["youtube_id"], row["start_time"]), []).append(row)
    return [
        Captioned(
            _audiocaps_names(youtube_id, start, [row["audiocap_id"] for row in own]),
            tuple(row["caption"] for row in own),
        )
        for (youtube_id, start), own in grouped.items()
    ]


def _clotho(csv: Path, rows: Sequence[Row], texts: Sequence[str]) -> list[Captioned]:
    for row in rows:
        if not row["file_name"].strip():
            raise InputError(f"{csv} line {row.line} has an empty file_name")
    return [
        Captioned((_stem(row["file_name"]),), tuple(row[text] for text in texts if row[text].strip())) for row in rows
    ]


def find_clips(folder: Path, captioned: list[Captioned]) -> Clips:
    """Match the clips of a caption file with the files of `folder`; where a clip has several, one that is decoded.

    Raises InputError where it is no folder.
    """
    try:
        # The last of a name counts: a wav and not the video that it was cut from, then the first in the alphabet.
        listed = sorted(sorted(folder.iterdir(), reverse=True), key=lambda path: path.suffix.lower() not in UNREAD)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{folder} is not a folder of audio files") from error
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from error
    files = {_stem(path.name): path for path in listed if path.suffix.lower() in SOUNDS}
    here = [next((files[name] for name in clip.names if name in files), None) for clip in captioned]
    return Clips(
        folder,
        tuple(path for path in here if path is not None),
        tuple(clip.captions for clip, path in zip(captioned, here, strict=True) if path is not None),
        tuple(clip.names[0] for clip, path in zip(captioned, here, strict=True) if path is None),
    )


def _audiocaps_names(youtube_id: str, start: str, ids: list[str]) -> tuple[str, ...]:
    return (youtube_id, f"Y{youtube_id}", f"{youtube_id}_{start}", f"Y{youtube_id}_{start}", *ids)


def _stem(file: str) -> str:
    """The name without an audio suffix; other dots are part of it. "é" is one character, however the disk writes it."""
    path = Path(unicodedata.normalize("NFC", file.strip()))
    return path.stem.strip() if path.suffix.lower() in SOUNDS else path.name
