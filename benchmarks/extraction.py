"""How fast frozen features are computed: windows and texts a second, and their share of the floor.

    PYTHONPATH=. OMP_NUM_THREADS=2 python benchmarks/extraction.py [--model msclap-2022] [--windows 16] [--texts 128]

Random weights at the real size, no download. The floor is the multiply-adds of the frozen half over the machine's
measured matrix rate; a share of 1 would mean that nothing but matrix products took time. The matrix rate is measured
before and after. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json

import torch
from measure import matrix_rate, multiply_adds, seconds

from tclap import models
from tclap.data import captions

WORDS = ("dog", "rain", "church bells", "crying baby", "clock tick", "helicopter", "door wood knock", "sea waves")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="msclap-2022", choices=[n for n in models.NAMES if n != "mini"])
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    model = models.load(arguments.model, "random")
    wave = 0.05 * torch.randn(arguments.windows, round(model.window_s * model.sample_rate_hz))
    pairs = [(i, j) for i in WORDS for j in WORDS if i != j]
    texts = [captions.before(*pairs[k % len(pairs)]) for k in range(arguments.texts)]
    rates = [matrix_rate()]
    audio_work = arguments.windows * multiply_adds(lambda: model.audio_frozen(wave[:1]))
    text_work = multiply_adds(lambda: model.text_frozen(texts))
    audio_s = min(seconds(lambda: model.audio_frozen(wave)) for _ in range(arguments.repeats))
    text_s = min(seconds(lambda: model.text_frozen(texts)) for _ in range(arguments.repeats))
    rates.append(matrix_rate())
    rate = max(rates)
    result = {
        "model": model.name,
        "weights": "random",
        "threads": torch.get_num_threads(),
        "windows_per_s": round(arguments.windows / audio_s, 2),
        "texts_per_s": round(arguments.texts / text_s, 1),
        "matrix_rate_gmac_s": round(rate / 1e9, 1),
        "gmac_per_window": round(audio_work / arguments.windows / 1e9, 2),
        "audio_share_of_floor": round(audio_work / rate / audio_s, 2),
        "text_share_of_floor": round(text_work / rate / text_s, 2),
        "feature_bytes_per_window": model.audio_frozen(wave[:1]).nbytes,
    }
    print(f"audio {result['windows_per_s']} windows/s, {result['audio_share_of_floor']} of the floor")
    print(f"text  {result['texts_per_s']} texts/s, {result['text_share_of_floor']} of the floor")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
