"""Small pretrained models, made once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tclap import models
from tclap.models.split import SplitClap
from tests.models.small_models import write_weights


@pytest.fixture(scope="session")
def weights_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model name -> folder with weights, tokenizer and text configuration."""
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def shared(weights_of: dict[str, Path]) -> Callable[[str, str], SplitClap]:
    """(name, trainable) -> a model that tests share, and so leave as it was."""

    @cache
    def load(name: str, trainable: str) -> SplitClap:
        return models.load(name, str(weights_of[name]), trainable)

    return load
