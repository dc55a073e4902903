"""Files on storage that others read, too."""

import os

from tclap.places import write_atomically


def test_files_on_shared_storage_can_be_read_by_others(tmp_path):
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "a" / "table.csv", "1")
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "table.csv").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["table.csv"]
