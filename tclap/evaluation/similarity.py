"""Which text fits which sound: cosines between files and free texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tclap.errors import InputError
from tclap.evaluation.retrieval import embed_clips, embed_texts
from tclap.models.protocol import ContrastiveModel


def similarities(model: ContrastiveModel, audio: Sequence[str], texts: Sequence[str]) -> pd.DataFrame:
    """Cosines: a row for each audio file, a column for each text, in the order given.

    A file of any format, rate and length is heard in one window, its loudest. Raises InputError where either is empty,
    and naming every file that cannot be used.
    """
    if not audio or not texts:
        raise InputError("similarities need at least one audio file and one text")
    cosines = embed_clips(model, [Path(path) for path in audio]) @ embed_texts(model, texts).T  # [n, m]
    return pd.DataFrame(cosines, index=pd.Index(audio, name="audio"), columns=pd.Index(texts, name="text"))
