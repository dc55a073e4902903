"""How fast frozen features are computed: windows and texts a second, and their share of the floor.

    PYTHONPATH=. OMP_NUM_THREADS=2 python benchmarks/extraction.py [--model msclap-2022] [--windows 16] [--texts 128]
    PYTHONPATH=. python benchmarks/extraction.py --device cuda --windows 256 --texts 1024

Random weights at the real size, no download. The floor is the multiply-adds of the frozen half over the machine's
measured matrix rate; a share of 1 would mean that nothing but matrix products took time. The matrix rate is measured
before and after. On a GPU the audio half is also timed with float32 products in TF32 and under bfloat16, with how far
each moves the features: the norm of the difference over the norm. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
from collections.abc import Callable, Iterator

import torch
from measure import DEVICES, device_name, matrix_rate, multiply_adds, seconds

from tclap import models
from tclap.data import captions
from tclap.models import best_device

WORDS = ("dog", "rain", "church bells", "crying baby", "clock tick", "helicopter", "door wood knock", "sea waves")


@contextlib.contextmanager
def tf32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


def precisions(extract: Callable[[], torch.Tensor], windows: int, repeats: int) -> dict[str, float]:
    """Windows a second in each precision, in turns, and how far it moves the features from those of float32."""
    ways = {
        "float32": contextlib.nullcontext,
        "tf32": tf32,
        "bfloat16": lambda: torch.autocast("cuda", dtype=torch.bfloat16),
    }
    features, times = {}, {name: [] for name in ways}

    def keep(name: str) -> None:
        features[name] = extract().double()

    for _ in range(repeats + 1):
        for name, way in ways.items():
            with way():
                times[name].append(seconds(functools.partial(keep, name)))
    exact = features["float32"]
    figures = {}
    for name in ways:
        figures[f"{name}_windows_per_s"] = round(windows / min(times[name]), 1)
        figures[f"{name}_moves"] = float((features[name] - exact).norm() / exact.norm())
        print(f"{name:9} {figures[f'{name}_windows_per_s']:8.1f} windows/s, moved by {figures[f'{name}_moves']:.2e}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="msclap-2022", choices=[n for n in models.NAMES if n != "mini"])
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default=best_device(), choices=DEVICES)
    arguments = parser.parse_args()
    device = arguments.device
    model = models.load(arguments.model, "random")
    model.module().to(device)
    wave = 0.05 * torch.randn(arguments.windows, round(model.window_s * model.sample_rate_hz), device=device)
    pairs = [(i, j) for i in WORDS for j in WORDS if i != j]
    texts = [captions.before(*pairs[k % len(pairs)]) for k in range(arguments.texts)]
    rates = [matrix_rate(device)]
    audio_work = arguments.windows * multiply_adds(lambda: model.audio_frozen(wave[:1]))
    text_work = multiply_adds(lambda: model.text_frozen(texts))
    audio_s = min(seconds(lambda: model.audio_frozen(wave)) for _ in range(arguments.repeats))
    text_s = min(seconds(lambda: model.text_frozen(texts)) for _ in range(arguments.repeats))
    rates.append(matrix_rate(device))
    rate = max(rates)
    result = {
        "model": model.name,
        "weights": "random",
        "device": device_name(device),
        "windows_per_s": round(arguments.windows / audio_s, 2),
        "texts_per_s": round(arguments.texts / text_s, 1),
        "matrix_rate_gmac_s": round(rate / 1e9, 1),
        "gmac_per_window": round(audio_work / arguments.windows / 1e9, 2),
        "audio_share_of_floor": round(audio_work / rate / audio_s, 2),
        "text_share_of_floor": round(text_work / rate / text_s, 2),
        "feature_bytes_per_window": model.audio_frozen(wave[:1]).nbytes,
    }
    if device == "cuda":
        result |= precisions(lambda: model.audio_frozen(wave), arguments.windows, arguments.repeats)
    print(f"audio {result['windows_per_s']} windows/s, {result['audio_share_of_floor']} of the floor")
    print(f"text  {result['texts_per_s']} texts/s, {result['text_share_of_floor']} of the floor")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
