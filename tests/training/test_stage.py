import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from tclap.config import LossCoefficients, OptimiserSettings
from tclap.experiment import Stopped, carry_out
from tclap.features import TextFeatures
from tclap.models.mini import Mini
from tclap.models.protocol import trainable_parameters
from tclap.training.losses import stage_b_weights
from tclap.training.samples import Stage
from tclap.training.stage import StageRun, learning_rate, make_optimiser
from tests.test_distributed import questions

SETTINGS = OptimiserSettings(steps=6, lr=3e-3)


@pytest.fixture(scope="module")
def inputs() -> tuple[Stage, np.ndarray, TextFeatures]:
    _, stage, audio, text = questions("B", 4)
    steps = [np.roll(np.arange(4), k)[:3] for k in range(SETTINGS.steps)]  # another batch in each step
    weights = stage.weights(0)
    keep = [k * 4 + i for k in range(3) for i in range(3)]
    small = weights[keep][:, keep]
    rows = np.stack([stage.audio_rows[0, s] for s in steps])
    texts = np.stack([stage.captions[0, s] for s in steps])
    return Stage("B", rows, texts, lambda _: small, 1.0), audio, text


def fresh() -> Mini:
    return questions("B", 4)[0]


def train(model: Mini, inputs: tuple, seed: int = 0, **options: Any) -> list[tuple[int, dict[str, float]]]:
    log: list[tuple[int, dict[str, float]]] = []
    settings = options.pop("settings", SETTINGS)
    run = StageRun(model, *inputs, settings, seed=seed)
    carry_out(run, report=lambda s, m: log.append((s, m)), **options)
    return log


def parameters(model: Mini) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainable_parameters(model).items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_stage_reports_each_step_and_learns(inputs: tuple) -> None:
    model = fresh()
    before = parameters(model)
    log = train(model, inputs)
    assert [step for step, _ in log] == list(range(6))
    assert log[-1][1]["loss"] < log[0][1]["loss"] - 0.5
    assert [m["lr"] for _, m in log] == [learning_rate(step, SETTINGS) for step in range(6)]
    after = parameters(model)
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert not model.training


def test_a_fixed_logit_scale_is_all_that_stays(inputs: tuple) -> None:
    fixed = SETTINGS.model_copy(update={"logit_scale": "fixed"})
    model, states = fresh(), []
    before = parameters(model)
    log = train(model, inputs, settings=fixed, keep_every=3, keep=states.append)
    after = parameters(model)
    assert [name for name in before if torch.equal(before[name], after[name])] == ["logit_scale"]
    assert {m["logit_factor"] for _, m in log} == {float(before["logit_scale"].exp())}
    resumed = fresh()
    with torch.no_grad():
        resumed.logit_scale.fill_(1.0)
    assert train(resumed, inputs, settings=fixed, resume=states[0]) == log[3:]
    learned = train(fresh(), inputs)
    assert learned[-1][1]["logit_factor"] != log[-1][1]["logit_factor"]


def test_resume_is_bit_identical(inputs: tuple) -> None:
    whole = fresh()
    states: list[dict] = []
    log = train(whole, inputs, keep_every=2, keep=states.append)
    assert [state["step"] for state in states] == [2, 4, 6]  # the last for who is killed while evaluating
    for state in states:
        resumed = fresh()
        with torch.no_grad():
            resumed.logit_scale.fill_(1.0)  # what it held before does not matter
        tail = train(resumed, inputs, resume=state)
        assert tail == log[state["step"] :]
        assert_equal(parameters(resumed), parameters(whole))


def test_a_state_survives_the_steps_after_it(inputs: tuple) -> None:
    """A state may be kept in memory: neither the run that made it nor one that resumed from it changes it."""
    states: list[dict] = []
    kept: list[list[torch.Tensor]] = []

    def moments(state: dict) -> list[torch.Tensor]:
        return [v.clone() for entry in state["optimiser"]["state"].values() for v in entry.values()]

    def keep(state: dict) -> None:
        states.append(state)
        kept.append(moments(state))

    train(fresh(), inputs, keep_every=2, keep=keep)
    train(fresh(), inputs, resume=states[0])
    for state, before in zip(states, kept, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(moments(state), before, strict=True))


def test_a_state_survives_a_file(inputs: tuple, tmp_path: Any) -> None:
    whole, resumed = fresh(), fresh()
    train(
        whole,
        inputs,
        keep_every=4,
        keep=lambda state: torch.save(state, tmp_path / f"{state['step']}.pt"),
    )
    train(resumed, inputs, resume=torch.load(tmp_path / "4.pt", weights_only=True))
    assert_equal(parameters(resumed), parameters(whole))


def test_a_stop_leaves_a_state_that_goes_on_as_if_never_stopped(inputs: tuple) -> None:
    whole, stopped, resumed = fresh(), fresh(), fresh()
    log = train(whole, inputs)
    states: list[dict] = []
    answers = iter([False, False, True])
    with pytest.raises(Stopped, match="after step 3 of 6"):
        train(stopped, inputs, keep=states.append, should_stop=lambda: next(answers))
    assert [state["step"] for state in states] == [3]
    assert train(resumed, inputs, resume=states[0]) == log[3:]
    assert_equal(parameters(resumed), parameters(whole))


def test_a_look_changes_nothing_and_comes_before_the_state_of_its_step(inputs: tuple) -> None:
    whole, looked_at, resumed = fresh(), fresh(), fresh()
    log = train(whole, inputs)
    events: list[tuple[str, int]] = []

    def look(steps_done: int) -> bool:
        events.append(("look", steps_done))
        looked_at.eval()
        looked_at.train()
        torch.rand(3)
        return False

    states: list[dict] = []

    def keep(state: dict) -> None:
        states.append(state)
        events.append(("keep", state["step"]))

    every = {"look": look, "look_at": lambda steps_done: steps_done % 2 == 0}
    assert train(looked_at, inputs, keep=keep, keep_every=2, **every) == log
    assert_equal(parameters(looked_at), parameters(whole))
    # Not after the last step: the stage's own end is scored by whoever called.
    assert events == [("look", 2), ("keep", 2), ("look", 4), ("keep", 4), ("keep", 6)]
    events.clear()
    assert train(resumed, inputs, resume=states[0], **every) == log[2:]
    assert events == [("look", 2), ("look", 4)]  # killed before anybody acted on the first one, perhaps
    assert_equal(parameters(resumed), parameters(whole))


def test_a_look_that_says_enough_ends_the_stage_with_its_state(inputs: tuple) -> None:
    whole, ended, resumed = fresh(), fresh(), fresh()
    log = train(whole, inputs)
    states: list[dict] = []
    enough = {"look": lambda steps_done: True, "look_at": lambda steps_done: steps_done == 4}
    run = StageRun(ended, *inputs, SETTINGS, seed=0)
    assert not carry_out(run, keep=states.append, **enough)
    assert [state["step"] for state in states] == [4]
    assert not ended.training
    # Taken up again, it still is enough, and no step is taken; without the look it goes on as if never stopped.
    assert train(fresh(), inputs, resume=states[0], **enough) == []
    assert train(resumed, inputs, resume=states[0]) == log[4:]
    assert_equal(parameters(resumed), parameters(whole))


def test_training_is_reproducible_and_leaves_the_generator_alone(inputs: tuple) -> None:
    one, other = fresh(), fresh()
    torch.manual_seed(1)
    train(one, inputs)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    train(other, inputs)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert_equal(parameters(one), parameters(other))


def test_dropout_is_drawn_from_the_seed_and_step(inputs: tuple) -> None:
    """Mini has no dropout, other models do."""

    def with_dropout() -> Mini:
        model = fresh()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.3
        return model

    def trained(seed: int, **options: Any) -> dict[str, torch.Tensor]:
        model = with_dropout()
        train(model, inputs, seed, **options)
        return parameters(model)

    states: list[dict] = []
    whole = trained(0, keep_every=3, keep=states.append)
    assert_equal(trained(0, resume=states[0]), whole)
    assert not torch.equal(trained(1)["logit_scale"], whole["logit_scale"])


def test_a_loss_that_is_not_finite_names_stage_and_step(inputs: tuple) -> None:
    stage, audio, text = inputs
    broken = audio.copy()
    only_late = set(stage.audio_rows[3].ravel()) - set(stage.audio_rows[0].ravel())
    broken[sorted(only_late)] = np.nan
    first = next(s for s in range(6) if only_late & set(stage.audio_rows[s].ravel()))
    assert first > 0
    model = fresh()
    with pytest.raises(FloatingPointError, match=rf"nan at step {first} of stage B"):
        train(model, (stage, broken, text))
    assert all(torch.isfinite(p).all() for p in parameters(model).values())
    with pytest.raises(FloatingPointError, match=r"step 0 of stage A"):
        train(fresh(), (dataclasses.replace(stage, name="A"), np.full_like(audio, np.inf), text))


def test_gradients_are_clipped(inputs: tuple) -> None:
    clipped = OptimiserSettings(steps=6, grad_clip=1e-3)
    model = fresh()
    log = train(model, inputs, settings=clipped)
    norms = [m["grad_norm"] for _, m in log]
    assert min(norms) > 1e-3  # the norm reported is the one before clipping
    left = torch.nn.utils.clip_grad_norm_(
        [p for p in trainable_parameters(model).values() if p.grad is not None], math.inf
    )
    assert float(left) == pytest.approx(1e-3, rel=1e-3)


def test_learning_rate_warms_up_and_decays() -> None:
    settings = OptimiserSettings(steps=100, lr=2.0, warmup_fraction=0.1)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == pytest.approx(2.0)
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[55] == pytest.approx(1.0)
    assert 0 < rates[99] < 0.01
    assert learning_rate(100, settings) == pytest.approx(0.0)
    assert learning_rate(0, OptimiserSettings(steps=1, warmup_fraction=0)) == pytest.approx(1e-3)
    assert learning_rate(0, OptimiserSettings(steps=1, warmup_fraction=1)) == pytest.approx(1e-3)


def test_other_schedules() -> None:
    constant = OptimiserSettings(steps=100, lr=2.0, warmup_fraction=0.1, schedule="constant")
    assert learning_rate(0, constant) == pytest.approx(0.2)
    assert {learning_rate(step, constant) for step in range(9, 100)} == {2.0}
    released = OptimiserSettings(steps=100, lr=1e-3, warmup_fraction=0, schedule="exponential", epoch_steps=10)
    rates = [learning_rate(step, released) for step in range(100)]
    assert rates == pytest.approx([1e-3 * 0.95 ** (step // 10) for step in range(100)])


def test_only_matrices_decay() -> None:
    model = fresh()
    decayed, free = make_optimiser(model, OptimiserSettings(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert any(p is model.audio_projection.weight for p in decayed["params"])
    assert any(p is model.logit_scale for p in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(trainable_parameters(model))


def test_coefficients_change_what_is_learned() -> None:
    """A guard against a stage that does not hand its weights on."""
    losses = []
    for alpha in (0.0, 1.0):
        model, stage, audio, text = questions("B", 4)
        weights = stage_b_weights(4, LossCoefficients(alpha_st=alpha))
        one_step = OptimiserSettings(steps=1)
        log = train(
            model,
            (dataclasses.replace(stage, weights=lambda _, w=weights: w), audio, text),
            settings=one_step,
        )
        losses.append(log[0][1]["loss"])
    assert losses[1] > losses[0]
