"""What precision costs: the same stage B from float32 and from float16 features, and trained in bfloat16.

    python benchmarks/precision.py [--device cuda]

mini on the synthetic set, all in one run. tclap stores features as float16 and trains in bfloat16 on a GPU, in float32
on a CPU. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from measure import DEVICES, device_name

from tclap.config import LossCoefficients
from tclap.data.compose import Composites, load_events, render
from tclap.data.draws import batch_schedule
from tclap.data.synth import default_dataset
from tclap.evaluation.embed import embed_suite
from tclap.evaluation.zste import COLUMNS, build_suite, score_suite
from tclap.experiment import base_of, open_workspace, shared_inputs, training_samples
from tclap.features import text_features
from tclap.flags import TrainingFlags
from tclap.models import best_device
from tclap.training import checkpoint
from tclap.training import stage as training
from tclap.training.samples import stage_b
from tclap.training.stage import StageRun

PRECISIONS = {  # of the features, and of the trained half
    "float32": ("float32", torch.float32),
    "float16": ("float16", torch.float32),
    "bfloat16": ("float16", torch.bfloat16),
}


def exact_features(model, dataset, composites: Composites) -> np.ndarray:
    bank = load_events(dataset, composites, model.window_s, model.sample_rate_hz)
    parts = [
        model.audio_frozen(torch.from_numpy(render(bank, composites, start, min(start + 256, len(composites)))))
        for start in range(0, len(composites), 256)
    ]
    return torch.cat(parts).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=best_device(), choices=DEVICES)
    device = parser.parse_args().device
    with tempfile.TemporaryDirectory() as scratch:
        flags = TrainingFlags(storage=Path(scratch))
        configuration = flags.configuration("B", LossCoefficients(), batch_size=40)
        workspace = open_workspace(default_dataset(flags.storage), flags.storage / "cache")
        dataset, data = workspace.dataset, configuration.data
        base = base_of(workspace, configuration)
        samples = training_samples(workspace, data)
        suite = build_suite(dataset, data.eval_folds, data)
        inputs = shared_inputs(workspace, data)
        model = checkpoint.load(base)
        text, eval_text = (text_features(model, captions, workspace.cache) for _, captions in inputs)
        audio, eval_audio = (exact_features(model, dataset, composites) for composites, _ in inputs)
        settings = configuration.optimiser_b
        schedule = batch_schedule(len(samples.captions_b), data.takes, 40, settings.steps, seed=0)
        scores, embeddings = {}, {}
        for name, (stored, trained) in PRECISIONS.items():
            model = checkpoint.load(base)
            model.module().to(device)
            stage = stage_b(samples, schedule, configuration.coefficients)
            heard, asked = audio.astype(stored), eval_audio.astype(stored)
            embeddings[name] = embed_suite(model, suite, asked, eval_text)[0]
            autocast = torch.autocast(device, dtype=torch.bfloat16, enabled=trained == torch.bfloat16)
            with mock.patch.object(training, "mixed_precision", lambda _, autocast=autocast: autocast):
                run = StageRun(model, stage, heard, text.to(device), settings, seed=0)
                while not run.finished:
                    run.step()
            found = score_suite(suite, *embed_suite(model, suite, asked, eval_text))
            scores[name] = {c: found[c] for c in (*COLUMNS, "3A_order", "order/moved", "order/paired")}
    print(f"{'':14}" + "".join(f"{name:>9}" for name in PRECISIONS) + "   95% interval at float32")
    for column, exact in scores["float32"].items():
        values = "".join(f"{scores[name][column].value:9.2f}" for name in PRECISIONS)
        print(f"{column:14}{values}   {exact.low:.1f} to {exact.high:.1f}")
    figures = {"device": device_name(device)}
    for name in ("float16", "bfloat16"):
        differences = [abs(exact.value - scores[name][c].value) for c, exact in scores["float32"].items()]
        figures[f"{name}_largest_score_difference_percent"] = round(max(differences), 3)
    figures |= {
        "largest_base_embedding_difference": float(np.abs(embeddings["float32"] - embeddings["float16"]).max()),
        "megabytes_float32": round(audio.nbytes / 1e6),
        "megabytes_float16": round(audio.nbytes / 2e6),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
