"""What the benchmarks share: the machine's matrix rate, multiply-adds of a call, and the time of one."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def matrix_rate(repeats: int = 5, size: int = 2048) -> float:
    """Multiply-adds a second of the best of `repeats` float32 products of square matrices."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return size**3 / min(seconds(lambda: a @ b) for _ in range(repeats))


def multiply_adds(call: Callable[[], object]) -> int:
    """Multiply-adds of every matrix product and convolution of `call`, backward passes included."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
