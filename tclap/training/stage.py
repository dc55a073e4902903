"""One stage of training in plain torch: knows nothing of files, Ray or MLflow.

    run = StageRun(model, stage, audio, text, OptimiserSettings(steps=150), seed=0)
    while not run.finished:
        print(run.steps_done, run.step()["loss"])

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
from tclap.features import TextFeatures, windows_of
from tclap.models.protocol import ContrastiveModel, clamp_logit_scale, trainable_parameters
from tclap.training.chunked import ChunkedEmbedding, Encode
from tclap.training.losses import contrastive_loss
from tclap.training.samples import Stage

Report = Callable[[int, dict[str, float]], None]
State = dict[str, Any]


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


def stage_parameters(model: ContrastiveModel, settings: OptimiserSettings) -> dict[str, nn.Parameter]:
    """Name -> parameter of what a stage changes: all that is trained, but for a `logit_scale` that is to stay fixed."""
    fixed = settings.logit_scale == "fixed"
    return {name: p for name, p in trainable_parameters(model).items() if not (fixed and p is model.logit_scale)}


def make_optimiser(model: ContrastiveModel, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only, as is usual for transformers."""
    parameters = list(stage_parameters(model, settings).values())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    # Fused: one pass over memory. On a CPU the plain one costs more than forward and backward of msclap-2022 together.
    return torch.optim.AdamW(groups, lr=settings.lr, fused=True)


def batch_loss(
    model: ContrastiveModel, stage: Stage, step: int, audio: np.ndarray | Tensor, text: TextFeatures
) -> Tensor:
    """This worker's share of the loss of one batch; its gradients sum to the whole batch's over workers.

    audio [windows, ...] and text: frozen features, named by the rows and captions of `stage`.
    """
    share, rows, captions = _share(stage, step)
    kinds = rows.shape[1]
    heard, read = _encoders(model, audio, rows.T.reshape(-1), text, captions)
    audio_z, text_z = (z.reshape(kinds, -1, z.shape[-1]) for z in (heard(0, rows.size), read(0, rows.size)))
    return _loss(model, stage, step, share, audio_z, text_z)


def chunked_batch_loss(
    model: ContrastiveModel, stage: Stage, step: int, audio: np.ndarray | Tensor, text: TextFeatures, chunk: int
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


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 products in the trained half on a GPU, float32 on a CPU; embeddings and loss are float32 on both."""
    return torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def _encoders(
    model: ContrastiveModel, audio: np.ndarray | Tensor, rows: np.ndarray, text: TextFeatures, captions: list[str]
) -> tuple[Encode, Encode]:
    """Embeddings [stop - start, D] of the windows and of the texts start..stop of a batch."""
    device = model.logit_scale.device
    text_rows = text.rows(captions)

    def heard(start: int, stop: int) -> Tensor:
        features = windows_of(audio, rows[start:stop], device)
        with mixed_precision(device):
            return model.audio_head(features).float()

    def read(start: int, stop: int) -> Tensor:
        features, lengths = (part.to(device) for part in text.take(text_rows[start:stop]))
        with mixed_precision(device):
            return model.text_head(features, lengths).float()

    return heard, read


def _loss(model: ContrastiveModel, stage: Stage, step: int, share: slice, audio_z: Tensor, text_z: Tensor) -> Tensor:
    """Loss of this worker's pairs from its embeddings [K, n, D], gathered over workers."""
    n, own = stage.audio_rows.shape[1], share.stop - share.start
    audio_z, text_z = (distributed.gather(z[:, :own], n) for z in (audio_z, text_z))  # [K, N, D]
    weights = stage.weights(step).to(audio_z.device)
    return contrastive_loss(audio_z, text_z, model.logit_scale.exp(), weights, stage.beta, share)


class StageRun:
    """One stage in the making: `step()` until `finished`; `state()` and `load()` carry it over a kill.

    chunk: encode so many windows or texts at once, for batches that do not fit the memory; the gradients are the same.
    """

    def __init__(
        self,
        model: ContrastiveModel,
        stage: Stage,
        audio: np.ndarray | Tensor,
        text: TextFeatures,
        settings: OptimiserSettings,
        *,
        seed: int,
        chunk: int | None = None,
    ) -> None:
        self.model, self.stage = model, stage
        self.steps_done = 0
        self._audio, self._text, self._settings = audio, text, settings
        self._seed, self._chunk = seed, chunk
        self._parameters = stage_parameters(model, settings)
        self._optimiser = make_optimiser(model, settings)
        clamp_logit_scale(model)
        model.module().train()

    @property
    def steps(self) -> int:
        return self._settings.steps

    @property
    def finished(self) -> bool:
        return self.steps_done >= self._settings.steps

    def step(self) -> dict[str, float]:
        """Take the next step on every worker; returns its loss, lr, grad_norm and logit_factor.

        Raises FloatingPointError, naming stage and step, if the loss is not finite.
        """
        number, device = self.steps_done, self.model.logit_scale.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # Seeded by step, so that a resumed stage draws the dropout of an uninterrupted one.
            torch.manual_seed(
                int(np.random.SeedSequence([self._seed, number, distributed.rank()]).generate_state(1)[0])
            )
            lr = learning_rate(number, self._settings)
            for group in self._optimiser.param_groups:
                group["lr"] = lr
            loss, backward = self._forward(number)
            total = distributed.sum_scalar(loss)
            if not math.isfinite(total):
                raise FloatingPointError(f"loss is {total} at step {number} of stage {self.stage.name}; try a lower lr")
            self._optimiser.zero_grad(set_to_none=True)
            backward()
        distributed.sum_gradients(self._parameters.values())
        norm = nn.utils.clip_grad_norm_(self._parameters.values(), self._settings.grad_clip)
        self._optimiser.step()
        clamp_logit_scale(self.model)
        self.steps_done += 1
        factor = float(self.model.logit_scale.detach().exp())
        return {"loss": total, "lr": lr, "grad_norm": float(norm), "logit_factor": factor}

    def _forward(self, number: int) -> tuple[Tensor, Callable[[], None]]:
        if self._chunk is not None:
            return chunked_batch_loss(self.model, self.stage, number, self._audio, self._text, self._chunk)
        loss = batch_loss(self.model, self.stage, number, self._audio, self._text)
        return loss, loss.backward

    def state(self) -> State:
        """What `load` takes to go on as if never interrupted: step, trained tensors and the optimiser's, on the CPU."""
        optimiser = self._optimiser.state_dict()
        moments = {
            number: {name: value.to("cpu", copy=True) for name, value in own.items()}  # they are updated in place
            for number, own in optimiser["state"].items()
        }
        return {
            "step": self.steps_done,
            "model": {name: p.detach().to("cpu", copy=True) for name, p in trainable_parameters(self.model).items()},
            "optimiser": {"state": moments, "param_groups": copy.deepcopy(optimiser["param_groups"])},
        }

    def load(self, state: State) -> None:
        """Take up a stage where `state` left it."""
        with torch.no_grad():
            for name, parameter in trainable_parameters(self.model).items():
                parameter.copy_(state["model"][name])
        self._optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))  # it keeps the tensors it is given
        clamp_logit_scale(self.model)
        self.steps_done = state["step"]
