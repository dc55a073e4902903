"""What the benchmarks share: the device, its matrix rate, multiply-adds of a call, and the time of one."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

DEVICES = ("cuda", "cpu")


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"


def matrix_rate(device: str = "cpu", repeats: int = 5, dtype: torch.dtype = torch.float32) -> float:
    """Multiply-adds a second of the best of `repeats` products of square matrices, as large as fill the device."""
    size = 2048 if device == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return float(size**3 / min(seconds(lambda: a @ b) for _ in range(repeats)))


def multiply_adds(call: Callable[[], object]) -> int:
    """Multiply-adds of every matrix product and convolution of `call`, backward passes included."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


def seconds(call: Callable[[], object]) -> float:
    """Wall time of `call` and, on a GPU, of all that it queued there."""
    _wait()
    start = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
