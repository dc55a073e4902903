"""What `tclap exclude` has left out is not run again, neither of a list nor of a search."""

from pathlib import Path

import pytest

from tclap.config import LossCoefficients, config_hash
from tclap.errors import InputError
from tclap.flags import SweepSettings
from tclap.lanes.driver import run_sweep
from tclap.sweep import steering


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_list_of_which_everything_is_excluded_says_how_to_take_it_in_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dry_run: bool
) -> None:
    settings = SweepSettings(storage=tmp_path, name="s", dry_run=dry_run, _cli_parse_args=False)
    rows = [settings.configuration("B", LossCoefficients(alpha_st=st), 40) for st in (0, 1)]
    for configuration in rows:
        steering.exclude(tmp_path / "s", config_hash(configuration), "a mislabelled clip")
    with pytest.raises(InputError) as refused:
        run_sweep(settings, rows, "rows")
    undo = f"tclap exclude s HASH --undo --storage {tmp_path}"
    assert str(refused.value) == f"every configuration of s is excluded; {undo} takes one in again"
    said = capsys.readouterr().out
    assert all(f"excluded: {config_hash(configuration)}" in said for configuration in rows)
