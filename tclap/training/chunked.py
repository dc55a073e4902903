"""Exact gradients of a whole batch in the memory of a chunk ("GradCache", Gao et al. 2021, arXiv:2101.06983).

A contrastive loss needs every embedding of the batch at once, but the encoders do not: embed chunk by chunk without
gradient, take the gradient of the loss at the embeddings, then embed each chunk again, with gradient, and pass its
rows' gradient through it. Each chunk's random state is recorded the first time and replayed the second, so dropout is
the same; nothing else may be random or depend on the rest of the batch (batch norm does not: stored statistics).

Costs one more forward pass. The embeddings, and so loss and gradients, are those of the unchunked batch, except that
dropout draws its masks chunk by chunk.

Shapes: B windows or texts of this worker, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

Encode = Callable[[int, int], Tensor]  # (start, stop) -> embeddings [stop - start, D]


class ChunkedEmbedding:
    """The embeddings [B, D] of `n` inputs, made `size` at a time.

    `value` is a leaf: after the loss's backward(), `backward()` passes its gradient on to the parameters.
    Raises ValueError where `size` or `n` is not positive.
    """

    def __init__(self, encode: Encode, n: int, size: int, device: torch.device) -> None:
        if size < 1 or n < 1:
            raise ValueError(f"chunks of {size} from {n} inputs: both must be positive")
        self._encode = encode
        self._device = device
        self._slices = [(start, min(start + size, n)) for start in range(0, n, size)]
        self._states: list[list[Tensor]] = []
        parts = []
        with torch.no_grad():
            for start, stop in self._slices:
                self._states.append(_random_state(device))
                parts.append(encode(start, stop))
        self.value = torch.cat(parts).requires_grad_()

    def backward(self) -> None:
        """Add to the parameters' gradients what `value.grad` asks of them."""
        if self.value.grad is None:
            return
        for (start, stop), state in zip(self._slices, self._states, strict=True):
            with _replayed(state, self._device):
                embedded = self._encode(start, stop)
            embedded.backward(self.value.grad[start:stop])


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


@contextmanager
def _replayed(states: list[Tensor], device: torch.device) -> Iterator[None]:
    """Random state as it was; afterwards as it would have been without the replay."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.set_rng_state(states[0])
        if device.type == "cuda":
            torch.cuda.set_rng_state(states[1], device)
        yield
