"""A tiny synthetic dataset, and datasets that exist only as an index: no network, no GPU, no Ray."""

from pathlib import Path

import pytest
import torch

from tclap.data import captions, esc50, synth
from tclap.data.esc50 import Dataset
from tclap.models.mini import Mini

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 classes x 10 clips in 5 folds."""
    return synth.write_dataset(tmp_path_factory.mktemp("synth") / "data", classes=6, clips=10, seed=0)


@pytest.fixture(scope="session")
def dataset(root: Path) -> Dataset:
    return esc50.read_index(root)


@pytest.fixture(scope="session")
def dataset_digest(dataset: Dataset) -> str:
    return esc50.digest(dataset)


@pytest.fixture
def mini(dataset: Dataset) -> Mini:
    return Mini(captions.vocabulary(dataset.class_names), init_seed=0)
