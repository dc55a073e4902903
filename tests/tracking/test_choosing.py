"""`tclap best`, `report` and `score` on a finished sweep; the champion in a process of its own."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.entities.model_registry import ModelVersion

from tclap.data import synth
from tclap.data.dataset import Dataset
from tclap.errors import InputError
from tclap.evaluation.similarity import similarities
from tclap.experiment import base_of, evaluate, open_workspace
from tclap.tracking import champion, final_scores
from tclap.tracking.champion import ADDRESS
from tclap.tracking.final_scores import scores_on_test_folds
from tclap.tracking.read import SweepRecord, Trial, read_sweep
from tclap.training import checkpoint
from tests import helpers
from tests.tracking.conftest import DATA, NAME, STALE, Store

METRIC = "zste/1"
COMMAND = ("--metric", METRIC, "--guard", "zste/3A>=0", "--guard", "zste/1<=100")


def tclap(*flags: object) -> str:
    return helpers.tclap(*flags, environment=STALE)


def recorded(store: Store) -> SweepRecord:
    return read_sweep(store.client, store.experiment_id, NAME)


@pytest.fixture(scope="module")
def said(store: Store) -> str:
    """What `tclap best` printed the first time."""
    return tclap("best", "--name", NAME, "--storage", store.storage, *COMMAND)


@pytest.fixture(scope="module")
def winners(store: Store, said: str) -> list[Trial]:
    """The winner's trials, found by hand."""
    trials = recorded(store).trials
    means = {
        t.config_hash: np.mean([u.metrics[METRIC] for u in trials if u.config_hash == t.config_hash]) for t in trials
    }
    best = max(means, key=lambda name: means[name])
    assert f"winner: {best}" in said
    return [t for t in trials if t.config_hash == best]


def test_prints_ranking_front_comparison_and_how_to_load(said: str, winners: list[Trial]) -> None:
    assert f"small: ranking by {METRIC} on the evaluation folds" in said
    mean = np.mean([t.metrics[METRIC] for t in winners])
    assert f"{mean:.1f} ± " in said
    assert "Pareto front of zste/1, zste/order" in said
    assert "after selection by the same scores" in said
    assert "understates how much results vary" in said
    assert "the winner less each other" in said
    assert "base: before post-training" in said
    assert 'mlflow.pyfunc.load_model("models:/tclap@small").predict(' in said
    assert "tclap score models:/tclap@small" in said
    assert "registered as tclap version 1, alias small: " in said
    assert "champion: version 1, the first one" in said


def test_winner_and_base_have_their_test_scores(store: Store, winners: list[Trial], root: Path) -> None:
    workspace = open_workspace(root, store.storage / "cache")
    for trial in winners:
        model = checkpoint.load(store.checkpoint(trial.config_hash, trial.seed))
        scores = evaluate(workspace, DATA, model, DATA.test_folds)
        assert {n: s.value for n, s in scores.items()}.items() <= logged(store, trial.run_id, "zste_test/").items()
        assert logged(store, trial.run_id, "zste_test_low/")["3A"] == scores["3A"].low
    base = checkpoint.load(base_of(workspace, winners[0].configuration))
    scores = evaluate(workspace, DATA, base, DATA.test_folds)
    assert {n: s.value for n, s in scores.items()}.items() <= logged(
        store, winners[0].run_id, "zste_test_base/"
    ).items()
    for trial in winners:  # each is compared with the base that it starts from
        own, its_base, less = (logged(store, trial.run_id, f"zste_test{of}/") for of in ("", "_base", "_difference"))
        for name in ("1", "3A", "order/moved"):
            assert less[name] == pytest.approx(own[name] - its_base[name])
    own_z, base_z = (
        evaluate(workspace, DATA, m, DATA.test_folds)["3A"].value
        for m in (checkpoint.load(store.checkpoint(winners[0].config_hash, winners[0].seed)), base)
    )
    difference = {
        end: logged(store, winners[0].run_id, f"zste_test_difference{end}/")["3A"] for end in ("", "_low", "_high")
    }
    assert difference[""] == pytest.approx(own_z - base_z)
    assert difference["_low"] <= difference[""] <= difference["_high"]
    own = {trial.run_id for trial in winners}
    for run_id in set(store.run_ids.values()) - own:
        assert not logged(store, run_id, "zste_test/")


def logged(store: Store, run_id: str, prefix: str) -> dict[str, float]:
    metrics = store.client.get_run(run_id).data.metrics
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}


def test_what_an_earlier_shell_left_in_the_environment_moves_nothing(store: Store, said: str) -> None:
    """STALE names a run and an experiment of something else, for the sweep and for `tclap best`."""
    assert [e.name for e in store.client.search_experiments()] == ["tclap", "Default"]
    assert all("sweep" in run.data.tags for run in store.client.search_runs([store.experiment_id]))
    assert not store.client.search_runs(["0"])
    (version,) = versions(store)
    assert version.run_id in store.run_ids.values()


def test_again_computes_nothing_and_makes_no_version(
    store: Store, winners: list[Trial], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("scored or logged again")

    monkeypatch.setattr(final_scores, "zste_credits", refuse)
    monkeypatch.setattr(champion, "_new_version", refuse)
    again = tclap("best", "--name", NAME, "--storage", store.storage, *COMMAND, "--data", "moved/away")
    assert "is registered already: tclap version 1" in again
    again = again.replace("is registered already:", "registered as")
    assert again.replace("champion: version 1, as before", "champion: version 1, the first one") == said
    assert [int(v.version) for v in versions(store)] == [1]


def versions(store: Store) -> list[ModelVersion]:
    return [*store.client.search_model_versions(f"name = '{champion.MODEL}'")]


def test_champion_is_the_winners_best_seed_and_its_run_is_as_it_was(store: Store, winners: list[Trial]) -> None:
    best = max(winners, key=lambda trial: trial.metrics[METRIC])
    version = store.client.get_model_version_by_alias(champion.MODEL, champion.ALIAS)
    assert version.run_id == best.run_id
    assert version.tags["config_hash"] == best.config_hash
    assert version.tags["guards"] == "zste/3A>=0, zste/1<=100"
    run = store.client.get_run(best.run_id)
    assert run.info.status == "FINISHED"
    assert {k: v for k, v in run.data.metrics.items() if k.startswith("zste/")}.items() <= best.metrics.items()


def test_champion_loads_in_a_fresh_process_and_says_what_the_trial_does(
    store: Store, winners: list[Trial], root: Path, tmp_path: Path
) -> None:
    audio = [str(p) for p in sorted((root / "audio").glob("*.wav"))[:3]]
    texts = ["The sound of tick", "hum before tick"]
    program = (
        "import json, sys, mlflow; mlflow.set_tracking_uri(sys.argv[1]);"
        f"model = mlflow.pyfunc.load_model('{ADDRESS}');"
        "answer = model.predict(json.loads(sys.argv[2])); import tclap;"
        "print(json.dumps([answer.to_numpy().tolist(), list(answer.index), list(answer), tclap.__file__,"
        " 'ray' in sys.modules]))"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    question = json.dumps({"audio": audio, "text": texts})
    process = subprocess.run(
        [sys.executable, "-c", program, store.uri, question],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    cosines, index, columns, code, with_ray = json.loads(process.stdout.splitlines()[-1])
    best = max(winners, key=lambda trial: trial.metrics[METRIC])
    expected = similarities(checkpoint.load(store.checkpoint(best.config_hash, best.seed)), audio, texts)
    np.testing.assert_allclose(cosines, expected.to_numpy(), atol=1e-6, rtol=0)
    assert (index, columns) == (audio, texts)
    assert Path(code).is_relative_to(store.storage / "mlartifacts")  # the code that was registered, not this tree
    assert not with_ray


def test_score_prints_the_champions_similarities(store: Store, winners: list[Trial], root: Path) -> None:
    audio = sorted((root / "audio").glob("*.wav"))[:2]
    printed = tclap("score", ADDRESS, *audio, "hum before ticks", "ticks", "--storage", store.storage)
    best = max(winners, key=lambda trial: trial.metrics[METRIC])
    place = store.checkpoint(best.config_hash, best.seed)
    expected = similarities(checkpoint.load(place), [str(p) for p in audio], ["hum before ticks", "ticks"])
    for value in expected.to_numpy().ravel():
        assert f"{value:.3f}" in printed
    assert tclap("score", place, *audio, "hum before ticks", "ticks") == printed
    asked = " ".join(tclap("score", place, *audio, "dog before cat", "hum before ticks").split())
    assert "note: mini does not know dog, cat in 'dog before cat': all such words are one word to it" in asked
    assert asked.count(" n/a ") == len(audio), "one cosine of each sound says nothing"
    assert "does not know" not in tclap("score", place, *audio, "hum before ticks")


def test_another_winner_after_looking_at_the_test_folds_is_told(store: Store, winners: list[Trial]) -> None:
    record = recorded(store)
    others = [t for t in record.trials if t.config_hash != winners[0].config_hash]
    assert final_scores.others_scored(record, others) == winners
    assert final_scores.others_scored(record, winners) == []


def test_report_needs_mlflow_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(store.storage / "mlflow.db", tmp_path / "elsewhere" / "mlflow.db")
    tclap("report", "--name", NAME, "--storage", tmp_path / "elsewhere", "--out", tmp_path / "out")
    for file in store.files:
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes(), file.name
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *(file.name for file in store.files),
        *("leaderboard.csv", "leaderboard.md", "leaderboard.html"),
        "study.html",
    }
    assert len(pd.read_csv(tmp_path / "out" / "leaderboard.csv")) == 2


def unscored(store: Store) -> tuple[SweepRecord, list[Trial]]:
    """The record as it was before anything had a test score."""
    record = dataclasses.replace(recorded(store), metrics={})
    return record, [dataclasses.replace(t, metrics={}) for t in record.trials[:2]]


def test_another_dataset_is_refused(store: Store, tmp_path: Path) -> None:
    record, trials = unscored(store)
    cache = store.storage / "cache"
    synth.write_dataset(tmp_path / "other", classes=6, clips=10, seed=1)
    with pytest.raises(InputError, match=f"{tmp_path / 'other'} is not the dataset of sweep 'small': its digest is"):
        scores_on_test_folds(store.client, record, trials, tmp_path / "other", cache)
    gone = dataclasses.replace(record, tags={**record.tags, "data": str(tmp_path / "gone")})
    with pytest.raises(InputError, match=r"is not at .*gone: name its folder or csv with --data"):
        scores_on_test_folds(store.client, gone, trials, None, cache)


def test_a_dataset_that_was_given_as_a_csv_is_found(
    store: Store, winners: list[Trial], dataset: Dataset, tmp_path: Path
) -> None:
    """The csv lies among the clips, so that their names, and with them the digest, are those of the sweep."""
    shutil.copytree(dataset.audio, tmp_path / "clips")
    csv = helpers.write_csv(
        dataclasses.replace(dataset, root=tmp_path, audio_folder="clips"), tmp_path / "clips" / "mine.csv"
    )
    record, cache = recorded(store), store.storage / "cache"
    scored = scores_on_test_folds(store.client, record, winners, None, cache)
    again = [dataclasses.replace(trial, metrics={}) for trial in winners]
    assert scores_on_test_folds(store.client, record, again, csv, cache) == scored
    from_tag = dataclasses.replace(record, tags={**record.tags, "data": str(csv)})
    assert scores_on_test_folds(store.client, from_tag, again, None, cache) == scored


def test_a_sweep_without_test_folds_is_refused(store: Store) -> None:
    record, trials = unscored(store)
    data = trials[0].configuration.data.model_copy(update={"test_folds": ()})
    without = dataclasses.replace(trials[0], configuration=trials[0].configuration.model_copy(update={"data": data}))
    with pytest.raises(InputError, match="kept no test folds"):
        scores_on_test_folds(store.client, record, [without], None, store.storage / "cache")


def test_mini_cannot_be_exported(store: Store, capsys: pytest.CaptureFixture, said: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        tclap("export", ADDRESS, tmp_path / "out", "--storage", store.storage)
    assert stopped.value.code == 2
    assert "mini cannot be exported" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["best", "--name", "none"], "no sweep 'none' in MLflow; there are: other, small"),
        (["best", "--name", NAME, "--guard", "zste/1=3"], "guard 'zste/1=3': write METRIC>=NUMBER"),
        (["best", "--name", NAME, "--metric", "3A"], "unknown metric '3A'; this sweep has"),
        (["best", "--name", NAME, "--guard", "zste/1>100"], "no configuration can win"),
        (["report", "--name", "none"], "no sweep 'none'"),
        (["score", "models:/tclap/99", __file__, "a text"], "models:/tclap/99 cannot be had from MLflow"),
        (["score", ADDRESS, "gone.wav", "a text"], "no such file: gone.wav"),
        (["score", ADDRESS, __file__], "a text is missing"),
        (["score", ADDRESS, "a text"], "an audio file is missing"),
        (["score", "nowhere", __file__, "a text"], "nowhere is not a tclap checkpoint"),
        (["export", "nowhere", "out"], "nowhere is not a tclap checkpoint"),
    ],
)
def test_wrong_input_is_one_line(
    store: Store, said: str, capsys: pytest.CaptureFixture, flags: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        tclap(*flags, "--storage", store.storage)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert message in lines[0]
