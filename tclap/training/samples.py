"""From drawn pairs to the audio and captions of every sample, and from those to the batches of a stage.

Shapes: P class pairs, T takes, S steps, N pairs of a batch, K kinds of a stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tclap.config import DataSettings, LossCoefficients, StageASettings
from tclap.data import captions, compose
from tclap.data.compose import Composites
from tclap.data.dataset import Dataset
from tclap.data.draws import PairDraws, draw_pairs
from tclap.training.losses import info_nce_weights, stage_a_weights, stage_b_weights

KINDS_A = ("single", "forward")  # stage A's combined audio is stage B's forward audio
KINDS_B = ("forward", "reversed", "overlay")


@dataclass(frozen=True)
class Samples:
    """Every training sample of both stages; audio is named by its row among `composites`."""

    draws: PairDraws
    composites: Composites
    audio_rows: dict[str, np.ndarray]  # kind -> [P, T] row among composites
    captions_a: np.ndarray  # [P, T, 2] of str
    captions_b: np.ndarray  # [P, T, 3] of str

    @property
    def captions(self) -> list[str]:
        """Every distinct caption of both stages, sorted."""
        return sorted({*self.captions_a.ravel().tolist(), *self.captions_b.ravel().tolist()})


@dataclass(frozen=True)
class Stage:
    """All batches of a stage, known before it starts, so that a resumed stage needs only its step."""

    name: str  # "base", "A" or "B"
    audio_rows: np.ndarray  # [S, N, K]
    captions: np.ndarray  # [S, N, K] of str
    weights: Callable[[int], Tensor]  # step -> W [K*N, K*N]
    beta: float


def training_draws(dataset: Dataset, data: DataSettings, classes: np.ndarray) -> PairDraws:
    """The pairs that every configuration with these data settings trains on. classes: those that are not held out."""
    seed = data.draw_seed if data.train_draw_seed is None else data.train_draw_seed
    return draw_pairs(dataset, data.train_folds, classes, data.takes, seed, data.after_fraction, data.timing)


def make_samples(draws: PairDraws, class_names: tuple[str, ...]) -> Samples:
    """Lay out the samples of `draws`: each distinct window once (design 3)."""
    first, second = draws.clips[..., 0], draws.clips[..., 1]  # [P, T]
    alone = np.take_along_axis(draws.clips, draws.single_side[..., None], axis=2)[..., 0]
    rows = {
        "single": compose.single(alone, draws.alone),
        "forward": compose.join(first, second, draws.timing),
        "reversed": compose.join(second, first, draws.timing),
        "overlay": compose.overlay(first, second, draws.alone),
    }
    composites, index = compose.unique_composites(np.stack(list(rows.values())))
    pairs, takes = first.shape
    captions_a = np.empty((pairs, takes, 2), dtype=object)
    captions_b = np.empty((pairs, takes, 3), dtype=object)
    for p, t in np.ndindex(pairs, takes):
        i, j = (class_names[c] for c in draws.classes[p, t])
        alone_name = (i, j)[draws.single_side[p, t]]
        captions_a[p, t] = captions.single_a(alone_name), captions.combined(i, j)
        ordered = (
            (captions.after(j, i), captions.after(i, j))
            if draws.says_after[p, t]
            else (captions.before(i, j), captions.before(j, i))
        )
        captions_b[p, t] = *ordered, captions.overlaid(i, j)
    return Samples(draws, composites, dict(zip(rows, index, strict=True)), captions_a, captions_b)


def stage_a(samples: Samples, schedule: np.ndarray, settings: StageASettings) -> Stage:
    """TeminAL A over the batches of `schedule` [S, N, 2] (pair, take)."""
    pair, take = schedule[..., 0], schedule[..., 1]
    pair_classes = samples.draws.classes[pair, take]  # [S, N, 2]
    side = samples.draws.single_side[pair, take]
    single_class = np.take_along_axis(pair_classes, side[..., None], axis=2)[..., 0]  # [S, N]

    def weights(step: int) -> Tensor:
        return stage_a_weights(torch.from_numpy(single_class[step]), torch.from_numpy(pair_classes[step]), settings)

    audio = np.stack([samples.audio_rows[kind][pair, take] for kind in KINDS_A], axis=-1)
    return Stage("A", audio, samples.captions_a[pair, take], weights, settings.beta)


def stage_b(samples: Samples, schedule: np.ndarray, coefficients: LossCoefficients) -> Stage:
    """TeminAL B over the batches of `schedule` [S, N, 2] (pair, take)."""
    pair, take = schedule[..., 0], schedule[..., 1]
    constant = stage_b_weights(schedule.shape[1], coefficients)
    audio = np.stack([samples.audio_rows[kind][pair, take] for kind in KINDS_B], axis=-1)
    return Stage("B", audio, samples.captions_b[pair, take], lambda _: constant, coefficients.beta)


def base_stage(class_ids: np.ndarray, class_names: tuple[str, ...], schedule: np.ndarray) -> Stage:
    """mini's base: symmetric InfoNCE (eq. 7, times 2) over single windows.

    class_ids [n]: class of each single window; schedule [S, N]: rows of the windows in each batch.
    """
    named = np.array([captions.single_zste(name) for name in class_names], dtype=object)

    def weights(step: int) -> Tensor:
        return info_nce_weights(torch.from_numpy(class_ids[schedule[step]]))

    return Stage("base", schedule[..., None], named[class_ids[schedule]][..., None], weights, beta=1.0)
