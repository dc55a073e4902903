"""One batch over several workers: gather with gradient, shares, and the sum of gradients.

Each worker embeds its share of the batch, gathers all embeddings, and takes the loss of its own anchors against all
candidates. Shares of the loss add up to the whole, and so do the gradients: summed over workers (not averaged, so
not DDP), they equal those of one worker with the whole batch. Parameters that get no gradient are the same on every
worker and are left out.

Shapes: K kinds, N pairs of the batch, n pairs of this worker, D embedding size.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

_is_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """What this process does in the block it does by itself, though it is one of several workers."""
    global _is_alone
    before, _is_alone = _is_alone, True
    try:
        yield
    finally:
        _is_alone = before


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() and not _is_alone else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() and not _is_alone else 0


def shares(n: int) -> list[slice]:
    """For each worker, its slice of n pairs; sizes differ by at most one, and some may be empty."""
    size, longer = divmod(n, world_size())
    starts = [worker * size + min(worker, longer) for worker in range(world_size() + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(starts)]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        padded = own.new_zeros(own.shape[0], max(sizes), own.shape[2])
        padded[:, : own.shape[1]] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:, :size] for part, size in zip(parts, sizes, strict=True)], dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].contiguous()
        dist.all_reduce(total)
        start = sum(ctx.sizes[: rank()])
        return total[:, start : start + ctx.sizes[rank()]], None


def gather(own: Tensor, n: int) -> Tensor:
    """[K, n, D] of each worker -> [K, N, D] on every worker, differentiable: gradients sum over workers."""
    if world_size() == 1:
        return own
    gathered: Tensor = _Gather.apply(own, [s.stop - s.start for s in shares(n)])
    return gathered


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its sum over workers, in one all-reduce per dtype."""
    if world_size() == 1:
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for grads in by_dtype.values():
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        for grad, total in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(total.view_as(grad))


def sum_scalar(value: Tensor) -> float:
    """A detached scalar, summed over workers."""
    total = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return float(total)


def any_worker(flag: bool) -> bool:
    """Whether the flag is set on at least one worker; the same answer on every worker."""
    if world_size() == 1:
        return flag
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    return sum_scalar(torch.tensor(float(flag), device=device)) > 0


def from_first(value: list[int]) -> list[int]:
    """The first worker's list, on every worker: storage may show the others an older state of a folder."""
    if world_size() == 1:
        return value
    shared: list[Any] = [value]
    dist.broadcast_object_list(shared, src=0)
    first: list[int] = shared[0]
    return first


def barrier() -> None:
    """Wait until every worker is here."""
    if world_size() > 1:
        dist.barrier()


def lost_a_peer(error: BaseException) -> bool:
    """Whether a collective failed because another worker is gone, rather than for a fault of this one."""
    # gloo raises a plain RuntimeError that names its source file; NCCL has a class of its own.
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
