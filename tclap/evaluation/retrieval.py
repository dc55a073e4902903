"""Retrieval (Tables II and III): text to audio and audio to text, R@1, R@5, R@10 and mAP@10.

As the benchmarks score it, each caption of a clip is a query of its own over all clips (T->A), and a clip asks for its
captions among those of all clips (A->T): it scores at k where the best of them is within k. mAP@10 is the mean over
queries of sum over right candidates within 10 of the precision at their rank, divided by min(right candidates, 10).

Ties share the credit: each score is its expectation under a random order of the tied, so a constant model scores
chance. Clips are the units of the intervals: the captions of a clip are not independent (see `statistics`).

Shapes: n clips, m captions, Q queries, C candidates, R right candidates of a query (padded), D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.special import gammaln

from tclap.data.audio import decode, raise_problems
from tclap.data.compose import WINDOW_RMS, event
from tclap.errors import InputError
from tclap.evaluation.captioned import Clips
from tclap.evaluation.ranking import DECIMALS
from tclap.evaluation.statistics import Score, cluster_wilson
from tclap.models.protocol import ContrastiveModel, text_embeddings

CUTS = (1, 5, 10)
MAP_CUT = 10
EMBED_BATCH = 32


@dataclass(frozen=True)
class Retrieval:
    """Scores by name ("t2a_r1", "a2t_map10", ...), and how much of the benchmark was there."""

    scores: dict[str, Score]
    clips: int
    captions: int
    missing: tuple[str, ...]  # clips that the captions name and that the folder lacks, or that cannot be used


def retrieve(model: ContrastiveModel, clips: Clips, allow_missing: bool = False) -> Retrieval:
    """Score `model` on captioned clips. A clip of any length is heard in one window, its loudest.

    Raises InputError naming the missing clips, and the files that cannot be used, unless `allow_missing`.
    """
    if clips.missing and not allow_missing:
        few = ", ".join(clips.missing[:5]) + (", ..." if len(clips.missing) > 5 else "")
        raise InputError(
            f"{len(clips.missing)} of {len(clips.missing) + len(clips.paths)} clips are missing in {clips.folder}: "
            f"{few}; --allow-missing evaluates without them"
        )
    audio, problems = _embed(model, clips.paths)
    if not allow_missing:
        raise_problems(clips.folder, problems.values())
    clips = clips.without(problems)
    if len(clips.paths) < 2:
        raise InputError(f"{clips.folder} has {len(clips.paths)} usable clip(s) of those; retrieval needs at least 2")
    texts = [text for captions in clips.captions for text in captions]
    clip_of = np.repeat(np.arange(len(clips.paths)), [len(captions) for captions in clips.captions])
    scores = score_retrieval(audio, embed_texts(model, texts), clip_of)
    return Retrieval(scores, len(clips.paths), len(texts), clips.missing)


@torch.no_grad()
def _embed(model: ContrastiveModel, paths: Sequence[Path]) -> tuple[np.ndarray, dict[Path, str]]:
    """Embeddings [usable, D] of the clips that can be used, and what is wrong with each other one."""
    device = model.logit_scale.device
    done: list[np.ndarray] = []
    problems: dict[Path, str] = {}

    def window(path: Path) -> np.ndarray | str:
        try:
            wave = event(decode(path, model.sample_rate_hz), round(model.window_s * model.sample_rate_hz))
        except InputError as error:
            return str(error)
        return (wave * (WINDOW_RMS / np.sqrt(np.mean(np.square(wave, dtype=np.float64))))).astype(np.float32)

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), EMBED_BATCH):
            batch = paths[start : start + EMBED_BATCH]
            heard = dict(zip(batch, pool.map(window, batch), strict=True))
            problems |= {path: problem for path, problem in heard.items() if isinstance(problem, str)}
            usable = [heard[path] for path in batch if path not in problems]
            if usable:
                wave = torch.from_numpy(np.stack(usable)).to(device)
                done.append(model.audio_head(model.audio_frozen(wave)).float().cpu().numpy())
    return np.concatenate(done) if done else np.empty((0, 0), np.float32), problems


@torch.no_grad()
def embed_texts(model: ContrastiveModel, texts: Sequence[str]) -> np.ndarray:
    """[m, D] embeddings; equal texts are embedded once."""
    distinct, index = np.unique(np.array(texts, dtype=object), return_inverse=True)
    parts = []
    for start in range(0, len(distinct), EMBED_BATCH):
        parts.append(text_embeddings(model, distinct[start : start + EMBED_BATCH].tolist()).float().cpu().numpy())
    embedded: np.ndarray = np.concatenate(parts)[index]
    return embedded


def score_retrieval(audio: np.ndarray, text: np.ndarray, clip_of: np.ndarray) -> dict[str, Score]:
    """audio [n, D], text [m, D], clip_of [m] the clip of each caption -> scores in percent with intervals and chance.

    Raises ValueError on NaN, which has no rank.
    """
    assert len(text) == len(clip_of), "one clip for each caption"
    n = len(audio)
    similarity = text @ audio.T  # [m, n]
    own = [np.flatnonzero(clip_of == clip) for clip in range(n)]
    right = np.full((n, max(map(len, own))), -1)
    for row, captions in enumerate(own):
        right[row, : len(captions)] = captions
    scores = {}
    directions: tuple[tuple[str, np.ndarray, np.ndarray, np.ndarray], ...] = (
        ("t2a", similarity, clip_of[:, None], clip_of),
        ("a2t", similarity.T, right, np.arange(n)),
    )
    for direction, s, r, clip in directions:
        credits = ranked_credit(s, r)
        chances = ranked_credit(np.zeros((len(r), s.shape[1])), r)
        for metric, credit in credits.items():
            scores[f"{direction}_{metric}"] = cluster_wilson(credit, clip, float(chances[metric].mean()))
    return scores


def ranked_credit(similarity: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """[Q] expected credit in 0..1 under "r1", "r5", "r10" and "map10".

    similarity [Q, C]; right [Q, R]: the right candidates of each query, -1 where it has fewer.
    """
    if np.isnan(similarity).any():
        raise ValueError("similarity is NaN: the model's embeddings are not finite")
    s = np.round(similarity.astype(np.float64), DECIMALS)
    there = right >= 0
    value = np.where(there, np.take_along_axis(s, np.maximum(right, 0), axis=1), -np.inf)  # [Q, R]
    ordered = np.sort(s, axis=1)
    below = np.stack([np.searchsorted(row, v, side="left") for row, v in zip(ordered, value, strict=True)])
    up_to = np.stack([np.searchsorted(row, v, side="right") for row, v in zip(ordered, value, strict=True)])
    above, tied = s.shape[1] - up_to, up_to - below  # [Q, R] candidates
    right_above = ((value[:, None, :] > value[:, :, None]) & there[:, None, :]).sum(2)  # [Q, R] right ones
    right_tied = ((value[:, None, :] == value[:, :, None]) & there[:, None, :]).sum(2)
    best = np.argmax(value, axis=1)[:, None]
    a, t, r = (np.take_along_axis(x, best, axis=1)[:, 0] for x in (above, tied, right_tied))
    credits = {f"r{k}": 1 - _no_right_among(np.clip(k - a, 0, t), t, r) for k in CUTS}
    # A right candidate is equally likely at each place j of its tie group, and then precedes a share of the others.
    j = np.arange(1, MAP_CUT + 1)
    others = (right_tied - 1) / np.maximum(tied - 1, 1)  # [Q, R]
    hits = right_above[..., None] + 1 + (j - 1) * others[..., None]  # [Q, R, MAP_CUT]
    within = (j <= tied[..., None]) & (above[..., None] + j <= MAP_CUT) & there[..., None]
    precision = (within * hits / (above[..., None] + j)).sum(2) / np.maximum(tied, 1)  # [Q, R]
    credits["map10"] = precision.sum(1) / np.minimum(there.sum(1), MAP_CUT)
    return credits


def _no_right_among(drawn: np.ndarray, tied: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Probability that `drawn` of `tied` candidates, `right` of them right, hold no right one."""
    wrong = tied - right
    possible = drawn <= wrong
    d = np.minimum(drawn, wrong)

    def log_choose(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        logs: np.ndarray = gammaln(a + 1) - gammaln(b + 1) - gammaln(a - b + 1)
        return logs

    return np.where(possible, np.exp(log_choose(wrong, d) - log_choose(tied, d)), 0.0)
