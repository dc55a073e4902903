"""What a sweep's name stands for, what may grow under it, and when it is given back."""

import json
from pathlib import Path

import pytest

from tclap.errors import InputError
from tclap.flags import SweepSettings
from tclap.places import trials_folder
from tclap.search_flags import SearchSettings
from tclap.sweep.claim import CLAIM, check_name, claim_name, give_back


def sweep(*flags: str) -> SweepSettings:
    return SweepSettings(_cli_parse_args=list(flags))


def claim(folder, settings):
    claim_name(folder, settings.identity(), settings.meant_before(), settings.may_grow)


@pytest.mark.parametrize(
    "more", [("--seeds", "0,1"), ("--batch-sizes", "40,45"), ("--vary", "lr=1e-3,3e-4"), ("--seeds", "7")]
)
def test_more_seeds_batch_sizes_and_values_go_on_and_so_does_the_first_command(tmp_path, more):
    claim(tmp_path, sweep())
    claim(tmp_path, sweep(*more))
    grown = json.loads((tmp_path / CLAIM).read_text())
    assert grown["seeds"] == {"0,1": [0, 1], "7": [0, 7]}.get(more[1], [0])
    claim(tmp_path, sweep())  # whatever it asks for is still part of the sweep
    assert json.loads((tmp_path / CLAIM).read_text()) == grown


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--steps-b", "400"), "steps_b was 450, now 400"),
        (("--timing", "midpoint"), "timing was drawn, now midpoint"),
        (("--lr", "0.5", "--seeds", "0,1"), "lr was 0.001, now 0.5"),
        (("--vary-draws",), "vary_draws was False, now True"),
    ],
)
def test_what_would_change_finished_numbers_is_refused_in_one_line(tmp_path, flags, said):
    claim(tmp_path, sweep())
    before = (tmp_path / CLAIM).read_bytes()
    with pytest.raises(InputError) as refused:
        claim(tmp_path, sweep(*flags))
    line = str(refused.value)
    assert said in line
    assert line.count(" was ") == 1
    assert "choose another --name" in line
    assert "seeds, vary may be others under one name" in line
    assert "\n" not in line
    assert (tmp_path / CLAIM).read_bytes() == before


def test_the_environment_does_not_change_what_was_meant_before(monkeypatch):
    before = sweep().meant_before()
    assert before == {
        "timing": "midpoint",
        "prompts": ["The sound of {}"],
        "vary_draws": False,
        "row_o": "printed",
        "vary": [],
    }
    for name, value in {"PRESET": "released", "GPUS_PER_WORKER": "0.5", "USE_GPU": "true", "TIMING": "drawn"}.items():
        monkeypatch.setenv(f"TCLAP_{name}", value)
    assert sweep("--preset", "paper").meant_before() == before


def test_another_dataset_is_refused(tmp_path):
    claim_name(tmp_path, {"dataset": "a", "seeds": [0]}, {}, ("seeds",))
    with pytest.raises(InputError, match="dataset was a, now b"):
        claim_name(tmp_path, {"dataset": "b", "seeds": [0, 1]}, {}, ("seeds",))


def test_a_search_may_walk_through_another_space_but_not_after_other_objectives(tmp_path):
    flags = ("--batch-sizes", "4,8", "--stages", "B", "--sampler", "random", "--seed", "3", "--lrs", "1e-3,1e-2")
    claim(tmp_path, SearchSettings(_cli_parse_args=[]))
    claim(tmp_path, SearchSettings(_cli_parse_args=list(flags)))
    with pytest.raises(InputError, match="objectives was"):
        claim(tmp_path, SearchSettings(_cli_parse_args=["--objectives", "zste/1"]))


def test_a_look_at_the_name_writes_nothing(tmp_path):
    assert check_name(tmp_path, sweep().identity()) is None
    assert list(tmp_path.iterdir()) == []


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
