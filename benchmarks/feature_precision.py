"""What storing frozen features in float16 costs: the same stage B from float32 and from float16 features.

    python benchmarks/feature_precision.py

mini on the synthetic set, both in one run. The last line is one JSON object.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from tclap.config import LossCoefficients
from tclap.data.compose import Composites, load_events, render
from tclap.data.draws import batch_schedule
from tclap.data.synth import default_dataset
from tclap.evaluation.embed import embed_suite
from tclap.evaluation.zste import COLUMNS, build_suite, score_suite
from tclap.experiment import base_of, open_workspace, shared_inputs, training_samples
from tclap.features import text_features
from tclap.flags import TrainingFlags
from tclap.training import checkpoint
from tclap.training.samples import stage_b
from tclap.training.stage import run_stage


def exact_features(model, dataset, composites: Composites) -> np.ndarray:
    bank = load_events(dataset, composites, model.window_s, model.sample_rate_hz)
    parts = [
        model.audio_frozen(torch.from_numpy(render(bank, composites, start, min(start + 256, len(composites)))))
        for start in range(0, len(composites), 256)
    ]
    return torch.cat(parts).numpy()


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        flags = TrainingFlags(storage=Path(scratch))
        configuration = flags.configuration("B", LossCoefficients(), batch_size=40)
        workspace = open_workspace(default_dataset(flags.storage), flags.storage / "cache")
        dataset, data = workspace.dataset, configuration.data
        base = base_of(workspace, configuration)
        samples = training_samples(dataset, data)
        suite = build_suite(dataset, data.eval_folds, data)
        inputs = shared_inputs(dataset, data)
        model = checkpoint.load(base)
        text, eval_text = (text_features(model, captions, workspace.cache) for _, captions in inputs)
        audio, eval_audio = (exact_features(model, dataset, composites) for composites, _ in inputs)
        settings = configuration.optimiser_b
        schedule = batch_schedule(len(samples.captions_b), data.takes, 40, settings.steps, seed=0)
        scores, embeddings = {}, {}
        for dtype in ("float32", "float16"):
            model = checkpoint.load(base)
            stage = stage_b(samples, schedule, configuration.coefficients)
            heard, asked = audio.astype(dtype), eval_audio.astype(dtype)
            embeddings[dtype] = embed_suite(model, suite, asked, eval_text)[0]
            run_stage(model, stage, heard, text, settings, seed=0, report=lambda step, metrics: None)
            found = score_suite(suite, *embed_suite(model, suite, asked, eval_text))
            scores[dtype] = {c: found[c] for c in (*COLUMNS, "3A_order")}
    print(f"{'':10}{'float32':>9}{'float16':>9}   95% interval at float32")
    for column, exact in scores["float32"].items():
        value = scores["float16"][column].value
        print(f"{column:10}{exact.value:9.2f}{value:9.2f}   {exact.low:.1f} to {exact.high:.1f}")
    differences = {c: abs(s.value - scores["float16"][c].value) for c, s in scores["float32"].items()}
    figures = {
        "largest_score_difference_percent": round(max(differences.values()), 3),
        "largest_base_embedding_difference": float(np.abs(embeddings["float32"] - embeddings["float16"]).max()),
        "megabytes_float32": round(audio.nbytes / 1e6),
        "megabytes_float16": round(audio.nbytes / 2e6),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
