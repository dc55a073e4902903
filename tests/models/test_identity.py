"""What makes two models the same: fingerprints, copies, seeds."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tclap import models
from tclap.models.protocol import text_embeddings, trainable_parameters
from tclap.models.split import SplitClap
from tests.models.small_models import TEXTS

Shared = Callable[[str, str], SplitClap]
pytestmark = pytest.mark.parametrize("name", ["msclap-2022", "msclap-2023", "laion"])


def test_fingerprint_follows_the_frozen_tensors_alone(name: str, weights_of: dict[str, Path], shared: Shared) -> None:
    model, fresh = shared(name, "paper"), models.load(name, str(weights_of[name]))
    assert shared(name, "projection").fingerprint() != model.fingerprint()
    with torch.no_grad():
        next(iter(trainable_parameters(fresh).values())).add_(1)
    assert fresh.fingerprint() == model.fingerprint()
    fresh._fingerprint = None
    with torch.no_grad():
        next(b for n, b in fresh.module().named_buffers() if n.endswith("running_var")).add_(1)
    assert fresh.fingerprint() != model.fingerprint()


def test_a_copy_is_a_model_of_its_own(name: str, shared: Shared) -> None:
    model = shared(name, "paper")
    expected = text_embeddings(model, TEXTS).detach()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(text_embeddings(twin, TEXTS), expected)
        with torch.no_grad():
            for parameter in trainable_parameters(twin).values():
                parameter.zero_()
        assert twin.logit_scale == 0
        assert not torch.allclose(text_embeddings(twin, TEXTS), expected)
    torch.testing.assert_close(text_embeddings(model, TEXTS), expected)
