"""What chunked encoding saves: peak memory of one step of msclap-2022 with `trainable="all"`, whole and in chunks.

    PYTHONPATH=. OMP_NUM_THREADS=2 python benchmarks/chunked_memory.py [--pairs 4] [--chunk 3]

Each way runs in a process of its own; the peak is its resident memory above what it held before the step. Loss and
gradients of both are compared, with dropout off (chunks draw other masks than the whole batch). Random weights, no
download. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
from multiprocessing.connection import Connection

import numpy as np
import torch
from measure import seconds

from tclap import models
from tclap.config import LossCoefficients
from tclap.features import padded_texts
from tclap.models.protocol import trainable_parameters
from tclap.training.losses import stage_b_weights
from tclap.training.samples import Stage
from tclap.training.stage import batch_loss, chunked_batch_loss

# Peak bytes, seconds, loss, (norm, first entries) of each gradient, bytes of all gradients.
Answer = tuple[int, float, float, dict[str, tuple[float, list[float]]], int]


def step(pairs: int, chunk: int | None, answer: Connection) -> None:
    """One forward and backward pass; sends an Answer."""
    model = models.load("msclap-2022", "random", "all")
    generator = torch.Generator().manual_seed(0)
    audio = 0.05 * torch.randn(3 * pairs, round(model.window_s * model.sample_rate_hz), generator=generator)
    texts = [f"sound number {i}" for i in range(3 * pairs)]
    text = padded_texts(texts, model.text_frozen(texts), model.padding_value)
    rows = np.arange(3 * pairs).reshape(3, pairs).T[None]  # [1, n, 3]
    weights = stage_b_weights(pairs, LossCoefficients())
    stage = Stage("B", rows, np.array(texts, dtype=object)[rows], lambda _: weights, 1.0)
    loss = torch.zeros(())

    def run() -> None:
        nonlocal loss
        if chunk is None:
            loss = batch_loss(model, stage, 0, audio.numpy(), text)
            loss.backward()
        else:
            loss, backward = chunked_batch_loss(model, stage, 0, audio.numpy(), text, chunk)
            backward()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = seconds(run)
    peak = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)  # ru_maxrss is in KiB on Linux
    gradients = {n: p.grad for n, p in trainable_parameters(model).items() if p.grad is not None}
    sample = {n: (float(g.norm()), g.flatten()[:1000].tolist()) for n, g in gradients.items()}
    answer.send((peak, took, float(loss.detach()), sample, sum(g.nbytes for g in gradients.values())))


def measured(pairs: int, chunk: int | None) -> Answer:
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=step, args=(pairs, chunk, send))
    process.start()
    send.close()
    answer: Answer = receive.recv()
    process.join()
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--chunk", type=int, default=3, help="windows or texts encoded at once")
    arguments = parser.parse_args()
    whole, parts = measured(arguments.pairs, None), measured(arguments.pairs, arguments.chunk)
    # Against the largest entry of all: some gradients are zero but for rounding (BERT's key biases).
    differences = {n: np.abs(np.array(v) - np.array(parts[3][n][1])).max() for n, (_, v) in whole[3].items()}
    largest = max(np.abs(v).max() for _, v in whole[3].values())
    worst = max(differences, key=lambda n: differences[n])
    print(f"largest difference in {worst}: {differences[worst]:.1e} of a gradient of norm {whole[3][worst][0]:.1e}")
    result = {
        "model": "msclap-2022",
        "weights": "random",
        "windows": 3 * arguments.pairs,
        "chunk": arguments.chunk,
        "whole_peak_mb": round(whole[0] / 1e6),
        "chunked_peak_mb": round(parts[0] / 1e6),
        "of_which_gradients_mb": round(whole[4] / 1e6),
        "whole_s": round(whole[1], 1),
        "chunked_s": round(parts[1], 1),
        "loss_difference": abs(whole[2] - parts[2]),
        "gradient_difference": float(differences[worst]),
        "largest_gradient": float(largest),
    }
    print(f"{result['of_which_gradients_mb']} MB of both are gradients")
    print(f"whole   {result['whole_peak_mb']} MB above the model, {result['whole_s']} s")
    print(f"chunked {result['chunked_peak_mb']} MB above the model, {result['chunked_s']} s")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
