"""What caching the frozen halves saves: a training step of msclap-2022 at its real size, plain and from cache.

    PYTHONPATH=. OMP_NUM_THREADS=2 python benchmarks/step_cost.py [--pairs 24] [--plain 2] [--cached 20] [--device cuda]

Random weights, no download; stage B, so a pair is 3 windows and 3 texts. The plain step runs both halves, the frozen
ones without gradient; the cached step is the training loop's own. Both take the optimiser's step. The floor is the
multiply-adds of the step over the machine's measured matrix rate: what it would take if all else were free. Plain
and cached steps and the matrix rate are measured in turns, so that other load on the machine falls on all. On a GPU
the trained half runs in bfloat16, as in training, and the cached step is timed in float32 as well.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from unittest import mock

import numpy as np
import torch
from measure import DEVICES, device_name, matrix_rate, multiply_adds, seconds

from tclap import models
from tclap.config import LossCoefficients, OptimiserSettings
from tclap.data import captions
from tclap.features import TextFeatures, padded_texts
from tclap.models import best_device
from tclap.models.protocol import trainable_parameters
from tclap.training import stage as training
from tclap.training.losses import stage_b_weights
from tclap.training.samples import Stage
from tclap.training.stage import batch_loss, make_optimiser

SOUNDS = ("dog", "rain", "church bells", "crying baby", "clock tick", "helicopter", "door wood knock", "sea waves")
PLACES = ("", "distant ", "indoor ", "muffled ")  # 32 names, so that 496 pairs differ


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--plain", type=int, default=2, help="plain steps to time")
    parser.add_argument("--cached", type=int, default=20, help="cached steps to time")
    parser.add_argument("--device", default=best_device(), choices=DEVICES)
    arguments = parser.parse_args()
    n, device = arguments.pairs, arguments.device
    model = models.load("msclap-2022", "random")
    model.module().to(device)
    names = [place + sound for place in PLACES for sound in SOUNDS]
    pairs = [(i, j) for k, i in enumerate(names) for j in names[k + 1 :]][:n]
    if len(pairs) < n:
        parser.error(f"at most {len(pairs)} pairs")
    texts = np.array([[captions.before(i, j), captions.before(j, i), captions.overlaid(i, j)] for i, j in pairs])
    rows = np.arange(3 * n).reshape(3, n).T  # [n, 3]
    wave = 0.05 * torch.randn(3 * n, round(model.window_s * model.sample_rate_hz), device=device)
    weights = stage_b_weights(n, LossCoefficients())
    stage = Stage("B", rows[None], texts[None].astype(object), lambda _: weights, 1.0)
    optimiser = make_optimiser(model, OptimiserSettings())
    parameters = list(trainable_parameters(model).values())
    distinct = sorted(set(texts.ravel().tolist()))

    def read() -> TextFeatures:
        return padded_texts(distinct, model.text_frozen(distinct), model.padding_value)

    def frozen() -> tuple[torch.Tensor, TextFeatures]:
        return model.audio_frozen(wave), read()

    def trained(audio: torch.Tensor, text: TextFeatures) -> None:
        loss = batch_loss(model, stage, 0, audio, text)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()

    def in_float32(audio: torch.Tensor, text: TextFeatures) -> None:
        with mock.patch.object(training, "mixed_precision", return_value=contextlib.nullcontext()):
            trained(audio, text)

    def forward_backward(audio: torch.Tensor, text: TextFeatures) -> None:
        optimiser.zero_grad(set_to_none=True)
        batch_loss(model, stage, 0, audio, text).backward()

    a_window = multiply_adds(lambda: model.audio_frozen(wave[:1]))
    features = torch.rand(3 * n, 2048, device=device), read()  # of the real shapes
    model.module().train()
    for warm_up in (trained, in_float32):  # the optimiser allocates its state
        warm_up(*features)
    cached_work = multiply_adds(lambda: forward_backward(*features))
    plain_work = cached_work + 3 * n * a_window + multiply_adds(read)
    on_gpu = device == "cuda"
    plain, cached, rates, parts, wide = [], [], [], [], []
    for _ in range(arguments.plain):
        rates.append(matrix_rate(device))
        for _ in range(max(1, arguments.cached // arguments.plain)):
            cached.append(seconds(lambda: trained(*features)))
            parts.append(seconds(lambda: forward_backward(*features)))
            if on_gpu:
                wide.append(seconds(lambda: in_float32(*features)))
        rates.append(matrix_rate(device))
        plain.append(seconds(lambda: trained(*frozen())))
    rate, plain_s, cached_s = max(rates), min(plain), min(cached)
    floor_s = cached_work / rate
    result = {
        "model": model.name,
        "weights": "random",
        "pairs": n,
        "device": device_name(device),
        "plain_step_s": round(plain_s, 3),
        "cached_step_s": round(cached_s, 4),
        "cached_step_median_s": round(statistics.median(cached), 4),
        "ratio": round(plain_s / cached_s, 1),
        "matrix_rate_gmac_s": round(rate / 1e9, 1),
        "cached_gmac": round(cached_work / 1e9, 2),
        "plain_gmac": round(plain_work / 1e9, 1),
        "cached_floor_s": round(floor_s, 4),
        "cached_over_floor": round(cached_s / floor_s, 2),
        "plain_over_floor": round(plain_s / (plain_work / rate), 2),
        "optimiser_s": round(cached_s - min(parts), 4),
    }
    if on_gpu:
        result["cached_step_float32_s"] = round(min(wide), 4)
        result["float32_over_bfloat16"] = round(min(wide) / cached_s, 2)
        result["peak_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    print(f"plain  {plain_s:8.3f} s a step, {plain_work / 1e9:8.1f} G multiply-adds")
    print(f"cached {cached_s:8.4f} s a step, {cached_work / 1e9:8.2f} G multiply-adds: {result['ratio']} x faster")
    print(
        f"floor  {floor_s:8.4f} s at {rate / 1e9:.1f} G/s; the cached step takes {result['cached_over_floor']} x that"
    )
    if on_gpu:
        print(f"float32 instead of bfloat16: {result['float32_over_bfloat16']} x the cached step")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
