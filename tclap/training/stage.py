"""One stage of training in plain torch: knows nothing of files, Ray or MLflow.

    report = lambda step, metrics: print(step, metrics["loss"])
    run_stage(model, stage, audio, text, OptimiserSettings(steps=150), seed=0, report=report)

Shapes: N pairs of a batch, n pairs of this worker, K kinds, D embedding size.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tclap import distributed
from tclap.config import OptimiserSettings
from tclap.features import TextFeatures
from tclap.models.protocol import ContrastiveModel, clamp_logit_scale, trainable_parameters
from tclap.training.chunked import ChunkedEmbedding, Encode
from tclap.training.losses import contrastive_loss
from tclap.training.samples import Stage

Report = Callable[[int, dict[str, float]], None]
State = dict[str, Any]


class Stopped(Exception):
    """Training was asked to stop; its state went to `on_checkpoint` first."""


def learning_rate(step: int, settings: OptimiserSettings) -> float:
    """Linear warm-up over `warmup_fraction` of the steps, then a cosine to zero after the last, or another schedule."""
    warmup = round(settings.warmup_fraction * settings.steps)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.lr
    if settings.schedule == "exponential":
        assert settings.epoch_steps is not None, "validated by OptimiserSettings"
        return float(settings.lr * 0.95 ** (step // settings.epoch_steps))
    progress = (step - warmup) / max(1, settings.steps - warmup)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimiser(model: ContrastiveModel, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only, as is usual for transformers."""
    parameters = list(trainable_parameters(model).values())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    # Fused: one pass over memory. On a CPU the plain one costs more than forward and backward of msclap-2022 together.
    return torch.optim.AdamW(groups, lr=settings.lr, fused=True)


def batch_loss(model: ContrastiveModel, stage: Stage, step: int, audio: np.ndarray, text: TextFeatures) -> Tensor:
    """This worker's share of the loss of one batch; its gradients sum to the whole batch's over workers.

    audio [windows, ...] and text: frozen features, named by the rows and captions of `stage`.
    """
    share, rows, captions = _share(stage, step)
    kinds = rows.shape[1]
    heard, read = _encoders(model, audio, rows.T.reshape(-1), text, captions)
    audio_z, text_z = (z.reshape(kinds, -1, z.shape[-1]) for z in (heard(0, rows.size), read(0, rows.size)))
    return _loss(model, stage, step, share, audio_z, text_z)


def chunked_batch_loss(
    model: ContrastiveModel, stage: Stage, step: int, audio: np.ndarray, text: TextFeatures, chunk: int
) -> tuple[Tensor, Callable[[], None]]:
    """The same loss, and what to call for its gradients; `chunk` windows or texts are encoded at once."""
    share, rows, captions = _share(stage, step)
    kinds, device = rows.shape[1], model.logit_scale.device
    encoders = _encoders(model, audio, rows.T.reshape(-1), text, captions)
    embedded = [ChunkedEmbedding(encode, rows.size, chunk, device) for encode in encoders]
    audio_z, text_z = (part.value.reshape(kinds, -1, part.value.shape[-1]) for part in embedded)
    loss = _loss(model, stage, step, share, audio_z, text_z)

    def backward() -> None:
        loss.backward()
        for part in embedded:
            part.backward()

    return loss, backward


def _share(stage: Stage, step: int) -> tuple[slice, np.ndarray, list[str]]:
    """This worker's pairs, their audio rows [n, K] and captions [K*n]."""
    share = distributed.shares(stage.audio_rows.shape[1])[distributed.rank()]
    # A worker without a share embeds one pair and drops it: the gather's backward needs every worker.
    embedded = share if share.stop > share.start else slice(0, 1)
    return share, stage.audio_rows[step, embedded], stage.captions[step, embedded].T.reshape(-1).tolist()


def _encoders(
    model: ContrastiveModel, audio: np.ndarray, rows: np.ndarray, text: TextFeatures, captions: list[str]
) -> tuple[Encode, Encode]:
    """Embeddings [stop - start, D] of the windows and of the texts start..stop of a batch."""
    device = model.logit_scale.device
    text_rows = text.rows(captions)

    def mixed_precision() -> torch.autocast:
        return torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")

    def heard(start: int, stop: int) -> Tensor:
        features = torch.from_numpy(audio[rows[start:stop]]).to(device)
        with mixed_precision():
            return model.audio_head(features).float()

    def read(start: int, stop: int) -> Tensor:
        features = text.take(text_rows[start:stop], device)
        with mixed_precision():
            return model.text_head(features).float()

    return heard, read


def _loss(model: ContrastiveModel, stage: Stage, step: int, share: slice, audio_z: Tensor, text_z: Tensor) -> Tensor:
    """Loss of this worker's pairs from its embeddings [K, n, D], gathered over workers."""
    n, own = stage.audio_rows.shape[1], share.stop - share.start
    audio_z, text_z = (distributed.gather(z[:, :own], n) for z in (audio_z, text_z))  # [K, N, D]
    weights = stage.weights(step).to(audio_z.device)
    return contrastive_loss(audio_z, text_z, model.logit_scale.exp(), weights, stage.beta, share)


def run_stage(
    model: ContrastiveModel,
    stage: Stage,
    audio: np.ndarray,
    text: TextFeatures,
    settings: OptimiserSettings,
    *,
    seed: int,
    report: Report,
    resume: State | None = None,
    checkpoint_every: int | None = None,
    on_checkpoint: Callable[[State], None] | None = None,
    chunk: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Train `model` in place for `settings.steps` steps.

    report: called with (step, metrics) after each step. on_checkpoint: called on every worker, every
    `checkpoint_every` steps and after the last, with a state that `resume` takes to continue as if never interrupted.
    should_stop: asked on every worker after each step; where one says yes, all checkpoint and raise Stopped.
    chunk: encode so many windows or texts at once, for batches that do not fit the memory; the gradients are the same.
    Raises FloatingPointError, naming stage and step, where the loss is not finite.
    """
    module = model.module()
    parameters = trainable_parameters(model)
    optimiser = make_optimiser(model, settings)
    first = 0
    if resume is not None:
        first = resume["step"]
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(resume["model"][name])
        optimiser.load_state_dict(copy.deepcopy(resume["optimiser"]))  # it keeps the tensors it is given
    clamp_logit_scale(model)
    module.train()
    device = model.logit_scale.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for step in range(first, settings.steps):
            # Seeded by step, so that a resumed stage draws the dropout of an uninterrupted one.
            torch.manual_seed(int(np.random.SeedSequence([seed, step, distributed.rank()]).generate_state(1)[0]))
            lr = learning_rate(step, settings)
            for group in optimiser.param_groups:
                group["lr"] = lr
            if chunk is None:
                loss = batch_loss(model, stage, step, audio, text)
                backward: Callable[[], None] = loss.backward
            else:
                loss, backward = chunked_batch_loss(model, stage, step, audio, text, chunk)
            total = distributed.sum_scalar(loss)
            if not math.isfinite(total):
                raise FloatingPointError(f"loss is {total} at step {step} of stage {stage.name}; try a lower lr")
            optimiser.zero_grad(set_to_none=True)
            backward()
            distributed.sum_gradients(parameters.values())
            norm = nn.utils.clip_grad_norm_(parameters.values(), settings.grad_clip)
            optimiser.step()
            clamp_logit_scale(model)
            report(
                step,
                {
                    "loss": total,
                    "lr": lr,
                    "grad_norm": float(norm),
                    "logit_factor": float(model.logit_scale.detach().exp()),
                },
            )
            done = step + 1
            stop = should_stop is not None and distributed.any_worker(should_stop())
            due = checkpoint_every is not None and (done % checkpoint_every == 0 or done == settings.steps)
            if on_checkpoint and (due or stop):
                on_checkpoint(_state(done, parameters, optimiser))
            if stop:
                raise Stopped(f"after step {done} of {settings.steps} of stage {stage.name}")
    module.eval()


def _state(step: int, parameters: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> State:
    return {
        "step": step,
        "model": {name: p.detach().cpu().clone() for name, p in parameters.items()},
        "optimiser": copy.deepcopy(optimiser.state_dict()),  # its tensors are updated in place
    }
