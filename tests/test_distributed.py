"""Two gloo workers against one process with the same batch: the same loss, the same gradients."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tclap import distributed
from tclap.config import LossCoefficients, StageASettings
from tclap.data import captions
from tclap.data.draws import batch_schedule, draw_pairs
from tclap.features import TextFeatures, padded_texts
from tclap.models.mini import Mini
from tclap.models.protocol import trainable_parameters
from tclap.training.samples import Stage, make_samples, stage_a, stage_b
from tclap.training.stage import batch_loss
from tests.helpers import index_only

WORLD = 2
CASES = [(stage, n) for stage in ("A", "B") for n in (7, 6, 1)]


def questions(stage: str, n: int) -> tuple[Mini, Stage, np.ndarray, TextFeatures]:
    """A mini, one batch of n pairs and made-up features for it; the same in every process."""
    data = index_only(classes=5)
    samples = make_samples(draw_pairs(data, (1, 2), range(5), takes=2, seed=0), data.class_names)
    schedule = batch_schedule(10, 2, n, steps=1, seed=0)
    settings = StageASettings(alpha_diff=0.5, beta=0.7)
    coefficients = LossCoefficients(alpha_ct=0.5, alpha_so=0, beta=0.7)
    made = stage_a(samples, schedule, settings) if stage == "A" else stage_b(samples, schedule, coefficients)
    model = Mini(captions.vocabulary(data.class_names))
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((len(samples.composites), 64, 101)).astype(np.float32)
    texts = sorted(set(made.captions.ravel()))
    return model, made, audio, padded_texts(texts, model.text_frozen(texts), model.padding_value)


def answer(stage: str, n: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one batch, summed over however many workers there are."""
    model, made, audio, text = questions(stage, n)
    loss = batch_loss(model, made, 0, audio, text)
    total = distributed.sum_scalar(loss)
    loss.backward()
    parameters = trainable_parameters(model)
    distributed.sum_gradients(parameters.values())
    return total, {name: p.grad for name, p in parameters.items() if p.grad is not None}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    torch.save([answer(*case) for case in CASES], f"{folder}/{rank}.pt")
    sizes = [[s.stop - s.start for s in distributed.shares(n)] for n in (0, 1, 2, 7)]
    assert sizes == [[0, 0], [1, 0], [1, 1], [4, 3]]
    if rank == 0:
        with distributed.alone():  # the other worker takes no part: a collective would wait for it for ever
            assert (distributed.world_size(), distributed.rank()) == (1, 0)
            torch.save(answer(*CASES[0]), f"{folder}/alone.pt")
    distributed.barrier()
    assert distributed.from_first([rank, 5]) == [0, 5]
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def by_workers(tmp_path_factory: pytest.TempPathFactory) -> list[list]:
    folder = tmp_path_factory.mktemp("gloo")
    mp.spawn(worker, (str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{name}.pt", weights_only=True) for name in (*range(WORLD), "alone")]


def test_what_one_worker_does_alone_is_what_one_process_does(
    by_workers: list[list],
) -> None:
    loss, gradients = by_workers[WORLD]
    expected, expected_gradients = answer(*CASES[0])
    assert loss == expected
    assert all(torch.equal(gradients[name], gradient) for name, gradient in expected_gradients.items())


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{stage}-{n}" for stage, n in CASES])
def test_two_workers_equal_one_process(by_workers: list[list], case: int) -> None:
    loss, gradients = answer(*CASES[case])
    assert gradients["logit_scale"].abs() > 0 or CASES[case][1] == 1
    for worker_loss, worker_gradients in (answers[case] for answers in by_workers[:WORLD]):
        assert worker_loss == pytest.approx(loss, rel=1e-5)
        assert worker_gradients.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(
                worker_gradients[name],
                gradient,
                rtol=1e-5,
                atol=1e-5,
                msg=lambda m, name=name: f"{name}: {m}",
            )


def test_every_trained_parameter_gets_a_gradient() -> None:
    _, gradients = answer("B", 7)
    assert gradients.keys() == trainable_parameters(questions("B", 7)[0]).keys()
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 40])
def test_shares_partition_the_batch(world: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: world)
    shares = distributed.shares(n)
    assert len(shares) == world
    assert [i for share in shares for i in range(n)[share]] == list(range(n))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_one_process_needs_no_group() -> None:
    own = torch.randn(3, 4, 5)
    assert distributed.world_size() == 1
    assert distributed.rank() == 0
    assert distributed.gather(own, 4) is own
    assert distributed.sum_scalar(torch.tensor(2.5)) == 2.5
