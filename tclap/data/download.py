"""ESC-50 from its home, with a checksum."""

from __future__ import annotations

import shutil
from pathlib import Path

from tclap.errors import InputError

ESC50_URL = "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip"
ESC50_ZIP_HASH = "md5:629e8e9ebc1592bcceb06da6bec40275"


def download_esc50(out: Path) -> Path:
    """Download ESC-50 (CC BY-NC 3.0) into `out` with a checksum and a progress bar.

    Raises InputError if `out` holds a dataset or cannot be written to, the network fails or the checksum differs.
    """
    import pooch
    import requests

    try:
        if (out / "meta" / "esc50.csv").exists():
            raise InputError(f"{out} already holds a dataset; choose another folder or delete it")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be written to: {error.strerror}") from error
    try:
        archive = pooch.retrieve(ESC50_URL, known_hash=ESC50_ZIP_HASH, fname="esc50.zip", path=out, progressbar=True)
    except (requests.exceptions.RequestException, OSError, ValueError) as error:
        raise InputError(
            f"could not download ESC-50 from {ESC50_URL} ({type(error).__name__}): "
            f"place its meta/ and audio/ folders in {out} by hand"
        ) from error
    unpacked = out / "unpacked"
    shutil.unpack_archive(archive, unpacked)
    (source,) = unpacked.iterdir()
    for folder in ("meta", "audio"):
        shutil.move(source / folder, out / folder)
    shutil.rmtree(unpacked)
    Path(archive).unlink()
    return out
