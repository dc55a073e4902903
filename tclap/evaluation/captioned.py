"""The caption files of AudioCaps and Clotho, and the clips of a folder that they name.

AudioCaps: `audiocap_id,youtube_id,start_time,caption`, one line for each caption. Its audio goes by several names:
the YouTube id, with or without a "Y" before and "_<start time>" after it, or one of the clip's audiocap ids.
Clotho: `file_name,caption_1,...,caption_5`, one line for each clip. Any audio suffix will do for either.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tclap.errors import InputError

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus", ".m4a"}
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
    """The clips of an AudioCaps or Clotho caption file, in its order. Raises InputError: unreadable, other columns."""
    try:
        table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{csv} cannot be read as a caption file: {error}") from error
    if set(AUDIOCAPS) <= set(table.columns):
        clips = [
            Captioned(
                _audiocaps_names(str(youtube_id), str(start), group["audiocap_id"].tolist()), tuple(group["caption"])
            )
            for (youtube_id, start), group in table.groupby(["youtube_id", "start_time"], sort=False)
        ]
    elif "file_name" in table.columns and "caption_1" in table.columns:
        columns = [c for c in table.columns if c.startswith("caption_")]
        clips = [
            Captioned((_stem(row["file_name"]),), tuple(text for text in row[columns] if text.strip()))
            for _, row in table.iterrows()
        ]
    else:
        raise InputError(
            f"{csv} has the columns {', '.join(table.columns)}; a caption file has {', '.join(AUDIOCAPS)} (AudioCaps) "
            "or file_name, caption_1, ... (Clotho)"
        )
    silent = [clip.names[0] for clip in clips if not any(text.strip() for text in clip.captions)]
    if silent or not clips:
        raise InputError(f"{csv} has no captions{f' for {silent[0]}' if silent else ''}")
    return clips


def find_clips(folder: Path, captioned: list[Captioned]) -> Clips:
    """Match the clips of a caption file with the files of `folder`. Raises InputError where it is no folder."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of audio files")
    files = {_stem(p.name): p for p in sorted(folder.iterdir(), reverse=True) if p.suffix.lower() in SUFFIXES}
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
    """The name without an audio suffix; other dots are part of it."""
    path = Path(file.strip())
    return path.stem.strip() if path.suffix.lower() in SUFFIXES else path.name
