"""A name is bound by the first start, held to afterwards, and given back if nothing ran under it."""

from pathlib import Path

import pytest

from tclap.errors import InputError
from tclap.places import trials_folder
from tclap.sweep.claim import claim_name, give_back


def test_a_refused_start_leaves_the_name_free(tmp_path: Path) -> None:
    claim_name(tmp_path, {"lr": 1})
    give_back(tmp_path)
    claim_name(tmp_path, {"lr": 2})
    with pytest.raises(InputError, match="lr was 2, now 1"):
        claim_name(tmp_path, {"lr": 1})


def test_a_name_under_which_a_job_has_begun_is_kept(tmp_path: Path) -> None:
    claim_name(tmp_path, {"lr": 1})
    trials_folder(tmp_path).mkdir()
    give_back(tmp_path)
    with pytest.raises(InputError, match="lr was 1, now 2"):
        claim_name(tmp_path, {"lr": 2})


def test_there_may_be_nothing_to_give_back(tmp_path: Path) -> None:
    give_back(tmp_path)
    assert not list(tmp_path.iterdir())
