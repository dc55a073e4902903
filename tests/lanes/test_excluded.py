"""What `tclap exclude` has left out is not run again, neither of a list nor of a search."""

import itertools
from pathlib import Path

import pytest

from tclap.config import LossCoefficients, config_hash
from tclap.errors import InputError
from tclap.flags import SweepSettings
from tclap.lanes import search, worker
from tclap.lanes.driver import run_sweep
from tclap.lanes.search import run_search
from tclap.lanes.start import Start
from tclap.search_flags import SearchSettings
from tclap.sweep import steering
from tclap.sweep.ledger import Ledger, Result

SMALL = {"takes": 1, "eval_takes": 1, "base_steps": 5, "steps_b": 3, "batch_sizes": (6,)}


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


def test_what_of_a_search_was_interrupted_and_excluded_is_not_run_again_and_counts_as_tried(
    root: Path, tmp_path: Path, began: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(trials: int) -> int:
        of = {"sampler": "random", "stages": ("B",), "_cli_parse_args": False}
        return run_search(SearchSettings(data=root, storage=tmp_path, name="s", trials=trials, **SMALL, **of))

    do = worker.Desk.do

    def interrupted(self: worker.Desk, job: worker.Job) -> worker.Report:
        if len(began) == 2:
            raise KeyboardInterrupt
        return do(self, job)

    with monkeypatch.context() as patch:
        patch.setattr(worker.Desk, "do", interrupted)
        assert run(2) == 130
    steering.exclude(tmp_path / "s", began[1], "too slow")
    assert run(2) == 0
    assert len(began) == 2
    capsys.readouterr()
    assert run(3) == 0
    assert "3 trials, 2 of them done" in capsys.readouterr().out
    assert len(began) == 3
    assert began[2] not in began[:2]


def test_a_search_of_which_something_is_excluded_is_complete_and_its_space_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = SearchSettings(storage=tmp_path, name="s", stages=("B",), trials=1000, _cli_parse_args=False)
    choices = settings.choices()
    points = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    tried = [settings.at(point) for point in points]
    undone, *done = map(config_hash, tried)
    steering.exclude(tmp_path / "s", undone, "too slow")
    ledger = Ledger(tmp_path / "s", [Result(name, 0, {}, 1.0, 3, "here") for name in done])
    left: list[bool] = []
    monkeypatch.setattr(search, "conclude", lambda *arguments: left.append(arguments[5]))
    start = Start(settings, tmp_path, "digest", ledger)
    search._conclude(start, settings, tried, limit=len(points), room=len(points))
    assert "the space is spent" in capsys.readouterr().out
    search._conclude(start, settings, tried[1:], limit=len(points), room=len(points))
    assert "the space is spent" not in capsys.readouterr().out
    assert left == [False, True]
