from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from tclap.config import DataSettings, ModelSettings, OptimiserSettings
from tclap.data import captions, compose
from tclap.data.dataset import Dataset
from tclap.errors import InputError
from tclap.models.mini import Mini
from tclap.models.protocol import trainable_parameters
from tclap.training import base, checkpoint

SETTINGS = ModelSettings(base=OptimiserSettings(steps=4), base_batch_size=12)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in trainable_parameters(checkpoint.load(folder)).items()}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def place(dataset: Dataset, dataset_digest: str, cache: Path) -> Path:
    return base.base_checkpoint(dataset, dataset_digest, DataSettings(), SETTINGS, cache)


def test_is_trained_and_leaves_its_start(dataset: Dataset, place: Path) -> None:
    start = trainable_parameters(Mini(captions.vocabulary(dataset.class_names)))
    trained = weights(place)
    assert trained.keys() == start.keys()
    assert all(not torch.equal(trained[name], start[name]) for name in trained)


def test_is_trained_once(
    dataset: Dataset, dataset_digest: str, cache: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(base, "StageRun", refuse)
    evaluated_elsewhere = DataSettings(eval_folds=(5,), test_folds=(4,), takes=7)
    for data in (DataSettings(), evaluated_elsewhere):
        assert base.base_checkpoint(dataset, dataset_digest, data, SETTINGS, cache) == place


def test_is_the_same_in_another_cache(dataset: Dataset, dataset_digest: str, place: Path, tmp_path: Path) -> None:
    again = base.base_checkpoint(dataset, dataset_digest, DataSettings(), SETTINGS, tmp_path)
    assert again.name == place.name
    one, other = weights(place), weights(again)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("data", "settings", "other_data"),
    [
        (DataSettings(train_folds=(1, 2)), SETTINGS, False),
        (DataSettings(holdout_classes=2), SETTINGS, False),
        (DataSettings(), SETTINGS.model_copy(update={"base_seed": 1}), False),
        (DataSettings(), SETTINGS.model_copy(update={"base": OptimiserSettings(steps=5)}), False),
        (DataSettings(), SETTINGS, True),
    ],
)
def test_is_another_for_other_content(
    dataset: Dataset,
    dataset_digest: str,
    cache: Path,
    place: Path,
    data: DataSettings,
    settings: ModelSettings,
    other_data: bool,
) -> None:
    digest = "0" * 64 if other_data else dataset_digest
    assert base.base_checkpoint(dataset, digest, data, settings, cache) != place


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(compose, "COMPOSITION", ["other"]), (base, "FRONT_ENDS", 99), (base, "BASE_TAKES", 3)],
)
def test_is_another_if_it_hears_other_audio(
    dataset: Dataset,
    dataset_digest: str,
    cache: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    value: object,
) -> None:
    monkeypatch.setattr(module, name, value)
    assert base.base_checkpoint(dataset, dataset_digest, DataSettings(), SETTINGS, cache) != place


@pytest.mark.parametrize("holdout", [0, 2])
def test_hears_training_clips_of_seen_classes_alone(
    dataset: Dataset, dataset_digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holdout: int
) -> None:
    heard = []
    real = base.audio_features

    def spy(model, dataset, digest, composites, cache):  # type: ignore[no-untyped-def]
        heard.extend(composites.first.tolist())
        return real(model, dataset, digest, composites, cache)

    monkeypatch.setattr(base, "audio_features", spy)
    data = DataSettings(train_folds=(1, 3), holdout_classes=holdout)
    base.base_checkpoint(dataset, dataset_digest, data, SETTINGS, tmp_path)
    assert set(dataset.folds[heard]) == {1, 3}
    seen = base.seen_classes(dataset, data)
    assert len(seen) == 6 - holdout
    assert set(dataset.class_ids[heard]) == set(seen)
    assert len(heard) == 2 * 2 * len(seen) * base.BASE_TAKES


def test_with_midpoint_timing_it_hears_each_clip_whole_and_is_another_base(
    dataset: Dataset, dataset_digest: str, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []
    real = base.audio_features

    def spy(model, dataset, digest, composites, cache):  # type: ignore[no-untyped-def]
        heard.append(composites.rows())
        return real(model, dataset, digest, composites, cache)

    monkeypatch.setattr(base, "audio_features", spy)
    midpoint = base.base_checkpoint(dataset, dataset_digest, DataSettings(timing="midpoint"), SETTINGS, tmp_path)
    np.testing.assert_array_equal(heard[0], compose.single(dataset.clips_in((1, 2, 3))))
    assert midpoint.name != place.name


def test_needs_two_clips(dataset: Dataset, dataset_digest: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs at least 2"):
        base.base_checkpoint(dataset, dataset_digest, DataSettings(train_folds=(9,)), SETTINGS, tmp_path)


def test_seen_and_unseen_classes_are_all(dataset: Dataset) -> None:
    np.testing.assert_array_equal(base.seen_classes(dataset, DataSettings()), np.arange(6))
