"""A model and a dataset in, ZSTE scores out; embeddings are computed over all workers where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tclap import distributed
from tclap.config import DataSettings
from tclap.data.dataset import Dataset
from tclap.evaluation.items import Suite
from tclap.evaluation.statistics import Score
from tclap.evaluation.zste import build_suite, scores_of, suite_credits
from tclap.features import TextFeatures, audio_features, text_features, windows_of
from tclap.models.protocol import ContrastiveModel

EMBED_BATCH = 512


def zste_scores(
    model: ContrastiveModel,
    dataset: Dataset,
    dataset_digest: str,
    folds: Sequence[int],
    data: DataSettings,
    cache: Path,
    unseen_classes: Sequence[int] | np.ndarray = (),
) -> dict[str, Score]:
    """Score `model` on the clips of `folds`; frozen features are read from `cache` or computed into it."""
    suite = build_suite(dataset, folds, data)
    return scores_of(suite, zste_credits(model, dataset, dataset_digest, suite, cache), unseen_classes)


def zste_credits(
    model: ContrastiveModel, dataset: Dataset, dataset_digest: str, suite: Suite, cache: Path
) -> dict[str, np.ndarray]:
    """Credit of each item of `suite` (see `suite_credits`): what scores, order tables and differences are made from."""
    audio = audio_features(model, dataset, dataset_digest, suite.composites, cache)
    text = text_features(model, suite.captions, cache)
    return suite_credits(suite, *embed_suite(model, suite, audio, text))


@torch.no_grad()
def embed_suite(
    model: ContrastiveModel, suite: Suite, audio: np.ndarray | torch.Tensor, text: TextFeatures
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings [W, D] of the suite's windows and [Q, D] of its captions, in float32."""
    device = model.logit_scale.device
    module = model.module()
    was_training = module.training
    module.eval()
    rows = text.rows(suite.captions)

    def embed(n: int, head: str) -> np.ndarray:
        share = distributed.shares(n)[distributed.rank()]
        parts = []
        for start in range(share.start, share.stop, EMBED_BATCH):
            stop = min(start + EMBED_BATCH, share.stop)
            if head == "audio":
                parts.append(model.audio_head(windows_of(audio, np.arange(start, stop), device)))
            else:
                parts.append(model.text_head(*(part.to(device) for part in text.take(rows[start:stop]))))
        own = torch.cat(parts).float().unsqueeze(0)  # [1, n, D]
        gathered: np.ndarray = distributed.gather(own, n)[0].cpu().numpy()
        return gathered

    embeddings = embed(len(suite.composites), "audio"), embed(len(rows), "text")
    module.train(was_training)
    return embeddings
