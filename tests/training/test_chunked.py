"""Chunked encoding: the loss and gradients of the whole batch, dropout replayed, over workers too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from tclap import distributed
from tclap.config import OptimiserSettings
from tclap.features import TextFeatures
from tclap.models.mini import Mini
from tclap.models.protocol import trainable_parameters
from tclap.training.chunked import ChunkedEmbedding
from tclap.training.samples import Stage
from tclap.training.stage import StageRun, batch_loss, chunked_batch_loss
from tests.test_distributed import questions

WORLD = 2
CPU = torch.device("cpu")
CASES = [(stage, n) for stage in ("A", "B") for n in (7, 1)]


class Noisy(Mini):
    """mini with dropout where it hears and reads."""

    def audio_head(self, features: Tensor) -> Tensor:
        return nn.functional.normalize(nn.functional.dropout(super().audio_head(features), 0.3, self.training), dim=-1)

    def text_head(self, features: Tensor, lengths: Tensor) -> Tensor:
        read = super().text_head(features, lengths)
        return nn.functional.normalize(nn.functional.dropout(read, 0.3, self.training), dim=-1)


def noisy_questions(stage: str, n: int) -> tuple[Noisy, Stage, np.ndarray, TextFeatures]:
    model, *rest = questions(stage, n)
    noisy = Noisy(model.vocabulary)
    noisy.load_state_dict(model.state_dict())
    return noisy, *rest


def plain(stage: str, n: int) -> tuple[float, dict[str, Tensor]]:
    model, *rest = questions(stage, n)
    loss = batch_loss(model, rest[0], 0, *rest[1:])
    loss.backward()
    return float(loss.detach()), gradients(model)


def chunked(stage: str, n: int, chunk: int) -> tuple[float, dict[str, Tensor]]:
    model, *rest = questions(stage, n)
    loss, backward = chunked_batch_loss(model, rest[0], 0, *rest[1:], chunk)
    total = distributed.sum_scalar(loss)
    backward()
    distributed.sum_gradients(trainable_parameters(model).values())
    return total, gradients(model)


def gradients(model: Mini) -> dict[str, Tensor]:
    return {name: p.grad for name, p in trainable_parameters(model).items() if p.grad is not None}


def same(got: tuple[float, dict[str, Tensor]], expected: tuple[float, dict[str, Tensor]]) -> None:
    assert got[0] == pytest.approx(expected[0], rel=1e-5)
    assert got[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(got[1][name], gradient, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("chunk", [1, 4, 21, 1000])
@pytest.mark.parametrize(("stage", "n"), CASES)
def test_loss_and_gradients_are_those_of_the_whole_batch(stage: str, n: int, chunk: int) -> None:
    same(chunked(stage, n, chunk), plain(stage, n))


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    torch.save([chunked(*case, 3) for case in CASES], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_workers(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("gloo")
    mp.spawn(worker, (str(folder),), nprocs=WORLD)
    for rank in range(WORLD):
        for got, case in zip(torch.load(folder / f"{rank}.pt", weights_only=True), CASES, strict=True):
            same(got, plain(*case))


def test_one_chunk_draws_the_dropout_of_the_whole_batch() -> None:
    results = []
    for chunk in (None, 1000):
        model, stage, audio, text = noisy_questions("B", 6)
        model.train()
        torch.manual_seed(3)
        if chunk is None:
            loss = batch_loss(model, stage, 0, audio, text)
            loss.backward()
        else:
            loss, backward = chunked_batch_loss(model, stage, 0, audio, text, chunk)
            backward()
        results.append((float(loss.detach()), gradients(model)))
    same(results[1], results[0])


@pytest.mark.parametrize("size", [1, 3, 8])
def test_each_chunk_replays_its_own_dropout(size: int) -> None:
    """Against one graph over the same chunks, drawn once."""
    inputs, target = torch.randn(8, 5), torch.randn(8, 8)

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.5), nn.Linear(6, 4), nn.Dropout(0.5))

    def loss_of(z: Tensor) -> Tensor:
        return ((z @ z.T - target) ** 2).mean()

    one, other = network(), network()
    torch.manual_seed(1)
    expected = loss_of(torch.cat([one(inputs[s : s + size]) for s in range(0, 8, size)]))
    after = torch.get_rng_state()
    expected.backward()
    torch.manual_seed(1)
    embedded = ChunkedEmbedding(lambda start, stop: other(inputs[start:stop]), 8, size, CPU)
    loss = loss_of(embedded.value)
    loss.backward()
    embedded.backward()
    assert torch.equal(torch.get_rng_state(), after)
    torch.testing.assert_close(loss, expected)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad)


def test_a_chunked_stage_ends_where_the_unchunked_does() -> None:
    ends = []
    for chunk in (None, 5):
        model, stage, audio, text = questions("B", 6)
        run = StageRun(model, stage, audio, text, OptimiserSettings(steps=1), seed=0, chunk=chunk)
        losses = [run.step()["loss"]]
        ends.append((losses, {n: p.detach() for n, p in trainable_parameters(model).items()}))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-5)


def test_sizes_that_are_none() -> None:
    for n, size in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="must be positive"):
            ChunkedEmbedding(lambda *_: torch.zeros(1, 1), n, size, CPU)
