"""Files on storage that others read, too, and storage that is away for a while."""

import errno
import os

import botocore.exceptions
import pytest

from tclap.places import does_not_answer, unless_away, write_atomically


def test_files_on_shared_storage_can_be_read_by_others(tmp_path):
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "a" / "table.csv", "1")
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "table.csv").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="http://s3"), True),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="http://s3"), True),
        (botocore.exceptions.NoCredentialsError(), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (FileNotFoundError("it"), False),
        (ValueError("wrong"), False),
    ],
)
def test_what_waiting_may_mend_is_told_from_what_it_may_not(error, passes):
    def look(answer):
        if error:
            raise error
        return answer

    assert does_not_answer(error) is passes
    if passes:
        assert unless_away(look, True)(False)
        error = None
        assert not unless_away(look, True)(False)
    else:
        with pytest.raises(type(error)):
            unless_away(look, True)(False)
