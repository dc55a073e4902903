"""What the header of a sound file promises, for the formats whose decoders end early without an error.

libsndfile gives whatever a file holds: half a wav file is a shorter sound to it. FLAC, CAF and mp3 with a Xing header
are not here: it refuses the first two when they are cut, and says how many frames the last should have.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

STREAMED = 0x7FFF_F000  # what writes into a pipe cannot know the size, and puts this or more in its place
BYTE_ORDER = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">", b"FORM": ">"}  # wav, wav, wav, aiff
MOST_CHUNKS = 1000  # before the one with the sound
ID3_HEADER = 10
MPEG1_HZ = (44_100, 48_000, 32_000)
MPEG1_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
OGG_TAIL = 1 << 17  # more than two pages, which have at most 65 307 bytes
OGG_HEADER, OGG_LAST_PAGE = 27, 4


def cut_short(path: Path) -> str | None:
    """How the file at `path` is shorter than its header says, or None if it is not, or if its header does not say."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        if magic == b"OggS":
            return None if _has_last_page(file, size) else "cut short: its last page is missing"
        end = _end_of_sound(file, magic)
    return f"cut short: its header promises {end} bytes, {size} are there" if end is not None and end > size else None


def has_length(path: Path) -> bool:
    """Whether anything in the file says how long it should be."""
    with path.open("rb") as file:
        magic = file.read(4)
        if magic in (*BYTE_ORDER, b"riff", b".snd", b"dns."):
            return _end_of_sound(file, magic) is not None
        file.seek(0)
        start = file.read(ID3_HEADER)
        file.seek(_after_id3(start))
        frame = file.read(256)  # an mp3's first frame holds no sound if it holds the header
        return not _is_mp3(frame) or any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


def mp3_frames(path: Path) -> tuple[int, bool]:
    """Frames of sound (samples of each channel) in an mp3 without a header, and whether the last block is whole."""
    raw = path.read_bytes()
    at, frames = _after_id3(raw[:ID3_HEADER]), 0
    while _is_mp3(raw[at : at + 4]):
        version, bit_rate, rate, padding = (
            raw[at + 1] >> 3 & 3,
            raw[at + 2] >> 4,
            raw[at + 2] >> 2 & 3,
            raw[at + 2] >> 1,
        )
        rates_kbps, half = (MPEG1_KBPS, 1) if version == 3 else (MPEG2_KBPS, 2)
        rate_hz = MPEG1_HZ[rate] // {3: 1, 2: 2, 0: 4}[version]
        length = 144_000 // half * rates_kbps[bit_rate] // rate_hz + (padding & 1)
        if at + length > len(raw):
            return frames, False
        at, frames = at + length, frames + 1152 // half
    return frames, True


def _is_mp3(frame: bytes) -> bool:
    """Whether these bytes begin a block of MPEG layer III."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2 or frame[1] >> 3 & 3 == 1:
        return False
    return 0 < frame[2] >> 4 < 15 and frame[2] >> 2 & 3 < 3


def _after_id3(start: bytes) -> int:
    if start[:3] != b"ID3" or len(start) < ID3_HEADER:
        return 0
    return ID3_HEADER + (start[6] << 21 | start[7] << 14 | start[8] << 7 | start[9])


def _end_of_sound(file: BinaryIO, magic: bytes) -> int | None:
    """The byte after the last one of sound, by the header; None if it does not say, or is none that is known here."""
    try:
        if magic in BYTE_ORDER:
            return _end_of_riff(file, BYTE_ORDER[magic])
        if magic == b"riff":
            return _end_of_wave64(file)
        if magic in (b".snd", b"dns."):
            start, length = struct.unpack(">II" if magic == b".snd" else "<II", file.read(8))
            return None if length >= STREAMED else start + length
    except struct.error:  # the file ends within its header
        return None
    return None


def _end_of_riff(file: BinaryIO, order: str) -> int | None:
    file.seek(12)
    wide = None  # RF64 has the length of its data in a chunk of its own
    for _ in range(MOST_CHUNKS):
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name in (b"data", b"SSND"):
            length = wide if wide is not None and length >= STREAMED else length
            known = length > 0 and (length < STREAMED or length == wide)
            return file.tell() + length if known else None
        if name == b"ds64":
            _, wide = struct.unpack("<QQ", file.read(16))
            length = max(0, length - 16)
        file.seek(length + length % 2, 1)
    return None


def _end_of_wave64(file: BinaryIO) -> int | None:
    file.seek(40)
    for _ in range(MOST_CHUNKS):
        name, length = struct.unpack("<16sQ", file.read(24))
        if name[:4] == b"data":
            return file.tell() + length - 24 if length < 1 << 62 else None
        if not 24 <= length < 1 << 62:
            return None
        file.seek((length + 7) // 8 * 8 - 24, 1)
    return None


def _has_last_page(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - OGG_TAIL))
    tail = file.read()
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at < 0 or len(page) < OGG_HEADER or len(page) < OGG_HEADER + page[26]:
        return False
    body = sum(page[OGG_HEADER : OGG_HEADER + page[26]])
    return bool(page[5] & OGG_LAST_PAGE) and len(page) >= OGG_HEADER + page[26] + body
