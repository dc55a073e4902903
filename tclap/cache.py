"""The cache of a sweep whose storage is an object store: on each node's disk, with an origin that all nodes share.

Base models, feature sets and synthetic datasets are folders named by what is in them, `CACHE/KIND/KEY/`. Memory-mapped
files need a disk, so each node has a cache of its own (`node_cache`), whose file `origin` holds a URL. What such a
cache lacks is fetched from there, and what is made is published there, as one object `ORIGIN/KIND/KEY.tar`: it is there
whole or not at all. A cache without an origin is shared storage itself, and nothing is copied.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from upath import UPath

from tclap.config import canonical_hash
from tclap.places import at, write_atomically

ORIGIN = "origin"


def node_cache(root: Path, origin: UPath) -> Path:
    """The folder below `root` on this node that caches what lies at `origin`; made where it does not exist."""
    folder = root.expanduser().resolve() / canonical_hash(str(origin), 16)
    if not (folder / ORIGIN).exists():
        write_atomically(folder / ORIGIN, str(origin))
    return folder


def published_dataset(cache: Path, dataset_digest: str) -> Path:
    """Where a synthetic dataset lies in a cache with an origin: named by its content, unlike the one it was made as."""
    return cache / "data" / dataset_digest


def fetch(place: Path) -> bool:
    """Whether the folder `place` of a cache exists, after fetching it from the cache's origin where that has it."""
    if place.exists():
        return True
    source = _object(place)
    if source is None or not source.exists():
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as scratch:
        archive, filled = Path(scratch) / "archive.tar", Path(scratch) / place.name
        source.fs.get_file(source.path, str(archive))
        with tarfile.open(archive) as tar:
            tar.extractall(filled, filter="data")
        try:
            filled.rename(place)
        except OSError:
            if not place.exists():  # else another process was quicker, with the same content
                raise
    return True


def publish(place: Path, source: Path | None = None) -> None:
    """Put the folder `place` (or the content of `source` under its name) at the cache's origin, unless it is there."""
    target = _object(place)
    if target is None or target.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name}-", suffix=".tar") as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(source or place, arcname=".")
        archive.flush()
        target.fs.put_file(archive.name, target.path)


def _object(place: Path) -> UPath | None:
    """Where the folder CACHE/KIND/KEY lies at the origin of CACHE, if it has one."""
    origin = place.parents[1] / ORIGIN
    return at(origin.read_text(encoding="utf-8")) / place.parent.name / f"{place.name}.tar" if origin.exists() else None
