from pathlib import Path

import numpy as np
import pytest
import torch

from tclap.config import DataSettings
from tclap.data.dataset import Dataset
from tclap.evaluation import embed as evaluate
from tclap.evaluation.embed import embed_suite, zste_scores
from tclap.evaluation.order import CASES
from tclap.evaluation.zste import COLUMNS, EXTRA_COLUMNS, HARD_COLUMNS, build_suite
from tclap.features import audio_features, text_features
from tclap.models.mini import Mini
from tclap.models.protocol import text_embeddings

DATA = DataSettings(eval_takes=2)

DATA = DataSettings(eval_takes=2)


def test_scores_a_model(mini: Mini, dataset: Dataset, dataset_digest: str, tmp_path: Path) -> None:
    scores = zste_scores(mini, dataset, dataset_digest, (4,), DATA, tmp_path)
    cases = [f"order/{case}" for case in CASES]
    assert tuple(scores) == (
        *COLUMNS,
        *EXTRA_COLUMNS,
        *HARD_COLUMNS,
        "order/moved",
        "order/paired",
        "order/bias",
        *cases,
    )
    assert {name: score.n for name, score in scores.items() if name in ("1", "3A", "3B")} == {
        "1": 12,
        "3A": 60,
        "3B": 30,
    }
    assert all(0 <= s.low <= s.value <= s.high <= 100 for s in scores.values())
    assert zste_scores(mini, dataset, dataset_digest, (4,), DATA, tmp_path) == scores
    seen = zste_scores(mini, dataset, dataset_digest, (4,), DATA, tmp_path, unseen_classes=[1])
    assert seen["unseen/3B"].n == 10


def test_embeds_every_window_and_caption_in_its_row(
    mini: Mini, dataset: Dataset, dataset_digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "EMBED_BATCH", 7)
    suite = build_suite(dataset, (4,), DataSettings(eval_takes=1))
    audio = audio_features(mini, dataset, dataset_digest, suite.composites, tmp_path)
    text = text_features(mini, suite.captions, tmp_path)
    mini.train()
    audio_z, text_z = embed_suite(mini, suite, audio, text)
    assert mini.training  # as it was
    mini.eval()
    with torch.no_grad():
        for row in (0, 8, len(audio) - 1):
            own = mini.audio_head(torch.from_numpy(np.array(audio[row : row + 1])))[0]
            np.testing.assert_allclose(audio_z[row], own.numpy(), atol=1e-5)
        for row in (0, 9, len(suite.captions) - 1):
            own = text_embeddings(mini, [suite.captions[row]])[0]
            np.testing.assert_allclose(text_z[row], own.numpy(), atol=1e-5)
    assert (len(audio_z), len(text_z)) == (len(suite.composites), len(suite.captions))
