"""What a search that goes on knows of its best."""

from pathlib import Path

from tclap.config import LossCoefficients, config_hash
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import COLUMNS, ORDER
from tclap.lanes.search import _best_before
from tclap.search_flags import SearchSettings
from tclap.sweep import steering
from tclap.sweep.claim import claim_name
from tclap.sweep.ledger import Ledger, Result


def test_what_somebody_excluded_is_not_the_best_so_far(tmp_path: Path) -> None:
    settings = SearchSettings(storage=tmp_path, name="s", seeds=(0,), _cli_parse_args=False)
    worse, better = tried = [settings.configuration("B", LossCoefficients(alpha_st=st), 40) for st in (0, 1)]
    results = []
    for configuration, value in zip(tried, (30.0, 97.0), strict=True):
        scores = {name: Score(value, value - 1, value + 1, 9, 50.0) for name in (*COLUMNS, *ORDER)}
        results.append(Result(config_hash(configuration), 0, scores, 1.0, 3, "here"))
    ledger = Ledger(tmp_path / "s", results)
    assert _best_before(settings, ledger, tried, []).value == 97.0
    claim_name(tmp_path / "s", {"lr": 1})
    steering.exclude(tmp_path / "s", config_hash(better), "a mislabelled clip")
    assert _best_before(settings, ledger, tried, []).value == 30.0
    assert _best_before(settings, ledger, [worse], []).value == 30.0
