"""The state of a seed in the middle of its stage: kept whole, and not gone on from if a disk has damaged it."""

import os
from pathlib import Path

import pytest
import torch

from tclap.sweep.state import DamagedState, drop_state, read_state, write_state

STATE = {"step": 3, "model": {"w": torch.ones(2)}, "optimiser": {"state": {}, "param_groups": []}}


def test_a_state_survives_its_file(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    write_state(tmp_path, STATE)
    found = read_state(tmp_path)
    assert found is not None
    assert found["step"] == 3
    assert torch.equal(found["model"]["w"], torch.ones(2))
    drop_state(tmp_path)
    assert read_state(tmp_path) is None


DAMAGE = {
    "cut": lambda raw: raw[: len(raw) // 2],
    "nothing": lambda raw: b"",
    "zeros, as after a power cut": lambda raw: bytes(len(raw)),
    "something else": lambda raw: os.urandom(300),
    "a text": lambda raw: b"state\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_known_as_such(tmp_path: Path, damage: str) -> None:
    write_state(tmp_path, STATE)
    file = tmp_path / "state.pt"
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    with pytest.raises(DamagedState, match=r"state.pt is damaged"):
        read_state(tmp_path)


@pytest.mark.parametrize("content", [[], {"step": 3}, 7], ids=str)
def test_another_file_of_torchs_is_no_state(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(DamagedState, match="no state of a stage"):
        read_state(tmp_path)
