"""The registered model, as MLflow loads it: this file is its code (models-from-code), a checkpoint its artifact.

    champion = mlflow.pyfunc.load_model("models:/tclap@champion")
    champion.predict({"audio": ["a.wav", "b.wav"], "text": ["dog before cat"]})

gives a DataFrame of cosines: a row for each audio path, a column for each text. The two lists may differ in length.
Files may be of any length: one longer than the model's window is heard in windows that overlap by half, and each text
is compared with the best of them; a warning names them, and `.attrs["longer than a window"]` lists them. A shorter
file is padded with silence.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import mlflow.models
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from tclap.errors import InputError
from tclap.evaluation.similarity import longer_note, similarities
from tclap.models import best_device
from tclap.training import checkpoint


class Champion(PythonModel):
    """A checkpoint that answers with similarities."""

    def load_context(self, context: PythonModelContext) -> None:
        self._model = checkpoint.load(Path(context.artifacts["checkpoint"]))
        self._model.module().to(best_device())

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """`model_input`: one row, whose `audio` and `text` are lists. Raises InputError for more rows."""
        if len(model_input) != 1:
            raise InputError(f'the input has {len(model_input)} rows; it takes one: {{"audio": [...], "text": [...]}}')
        question = model_input.iloc[0]
        cosines = similarities(self._model, list(question["audio"]), list(question["text"]))
        if note := longer_note(cosines, self._model):
            warnings.warn(note, stacklevel=2)
        return cosines


mlflow.models.set_model(Champion())
