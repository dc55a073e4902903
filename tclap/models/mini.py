"""`mini`: a 0.5 M parameter CLAP whose base is trained here in seconds, for machinery and method at small scale.

Audio: log-mel (frozen) -> convolutions over time -> transformer with positions -> mean -> projection.
Text: words -> transformer with positions -> mean -> projection.

Shapes: B batch, T samples, M mels, F frames, F' = F/4 frames, L words, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn

from tclap.config import Trainable, canonical_hash
from tclap.data import captions
from tclap.data.captions import words
from tclap.errors import InputError
from tclap.models.family import Count, Family, Listing, count
from tclap.models.protocol import ContrastiveModel

MELS = 64
HOP_LENGTH = 320
MEL = {"n_fft": 512, "hop_length": HOP_LENGTH, "n_mels": MELS, "f_min": 40.0}
LOG_FLOOR = 1e-5
LOG_MEAN, LOG_STD = -6.0, 3.0  # brings the log-mel of windows at WINDOW_RMS to about zero mean and unit scale
WIDTH = 128
EMBEDDING = 128
MAX_WORDS = 32
PADDING, UNKNOWN = 0, 1  # word ids; the vocabulary follows


def _transformer(layers: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        WIDTH,
        nhead=4,
        dim_feedforward=2 * WIDTH,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)


class Mini(nn.Module):
    """A `ContrastiveModel` for windows of 2 s at 16 kHz over the words of `vocabulary`.

    Everything above the log-mel and the word ids is trainable. `init_seed` seeds the initial weights without
    touching the global generator.
    """

    name = "mini"
    window_s = 2.0
    sample_rate_hz = 16_000
    padding_value = float(PADDING)

    def __init__(self, vocabulary: Sequence[str], init_seed: int = 0) -> None:
        super().__init__()
        self.vocabulary = tuple(vocabulary)
        self._word_id = {word: i + 2 for i, word in enumerate(self.vocabulary)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            frames = round(self.window_s * self.sample_rate_hz) // HOP_LENGTH + 1
            self.mel = torchaudio.transforms.MelSpectrogram(self.sample_rate_hz, **MEL)
            self.audio_in = nn.Sequential(
                nn.Conv1d(MELS, WIDTH, kernel_size=5, stride=2, padding=2),
                nn.GELU(),
                nn.Conv1d(WIDTH, WIDTH, kernel_size=3, stride=2, padding=1),
            )
            self.audio_position = nn.Parameter(0.1 * torch.randn(math.ceil(frames / 4), WIDTH))
            self.audio_transformer = _transformer(layers=1)
            self.audio_projection = nn.Linear(WIDTH, EMBEDDING, bias=False)
            self.word_embedding = nn.Embedding(len(self.vocabulary) + 2, WIDTH, padding_idx=PADDING)
            # Word vectors start at scale 1. With the usual 0.02 the order of words is all but invisible beside them,
            # and stage B spends its first 150 steps on a plateau before it learns any order.
            self.text_position = nn.Parameter(0.5 * torch.randn(MAX_WORDS, WIDTH))
            self.text_transformer = _transformer(layers=1)
            self.text_projection = nn.Linear(WIDTH, EMBEDDING, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @torch.no_grad()
    def audio_frozen(self, wave: Tensor) -> Tensor:  # [B, T] -> [B, M, F]
        return (torch.log(self.mel(wave) + LOG_FLOOR) - LOG_MEAN) / LOG_STD

    def audio_head(self, features: Tensor) -> Tensor:  # [B, M, F] -> [B, D]
        x = self.audio_in(features.to(self.logit_scale.dtype)).transpose(1, 2)  # [B, F', WIDTH]
        x = self.audio_transformer(x + self.audio_position)
        return F.normalize(self.audio_projection(x.mean(dim=1)), dim=-1)

    def text_frozen(self, texts: Sequence[str]) -> list[Tensor]:
        ids = [[self._word_id.get(word, UNKNOWN) for word in words(text)][:MAX_WORDS] or [UNKNOWN] for text in texts]
        return [torch.tensor(own, device=self.logit_scale.device) for own in ids]

    def unknown_words(self, text: str) -> list[str]:
        """The words of `text` that are all the same to it, each once, as they stand there but in small letters."""
        return [word for word in dict.fromkeys(words(text)) if word not in self._word_id]

    def text_head(self, features: Tensor, lengths: Tensor) -> Tensor:  # [B, L], [B] -> [B, D]
        ids = features
        padded = ids == PADDING
        x = self.word_embedding(ids) + self.text_position[: ids.shape[1]]
        x = self.text_transformer(x, src_key_padding_mask=padded)
        kept = (~padded).unsqueeze(-1)
        return F.normalize(self.text_projection((x * kept).sum(1) / kept.sum(1)), dim=-1)

    def fingerprint(self) -> str:
        frozen = {
            "name": self.name,
            "mel": MEL,
            "log": [LOG_FLOOR, LOG_MEAN, LOG_STD],
            "words": self.vocabulary,
        }
        return canonical_hash(frozen)

    def module(self) -> nn.Module:
        return self

    def rebuild_config(self) -> dict[str, object]:
        return {"name": self.name, "vocabulary": list(self.vocabulary)}


def _untrained(class_names: Sequence[str], seed: int) -> Mini:
    """A fresh mini whose words are those of every caption over the dataset's classes."""
    return Mini(captions.vocabulary(tuple(class_names)), init_seed=seed)


def _rebuild(arguments: Mapping[str, object]) -> Mini:
    return Mini(**arguments)  # type: ignore[arg-type]


def _load(name: str, weights: str | None, trainable: Trainable, seed: int) -> Mini:
    raise InputError(f"{name!r} is not a pretrained model: its base is trained here, on a dataset")


def _describe(name: str, trainable: Trainable, weights: str | None) -> Listing:
    mini = _untrained((), 0)
    parts = dict(mini.named_children())
    audio = count(module for part, module in parts.items() if part.startswith("audio"))
    text = count(module for part, module in parts.items() if part.startswith(("text", "word")))
    positions = mini.audio_position.numel(), mini.text_position.numel()
    advice = "trained here on the training folds; a word of a class name adds 128 text parameters"
    counts = [Count(c.total + own, c.trained + own) for c, own in zip((audio, text), positions, strict=True)]
    return Listing(name, mini.window_s, mini.sample_rate_hz, "paper", counts[0], counts[1], None, advice)


def _export(model: ContrastiveModel, out: Path) -> str:
    raise InputError(f"{model.name} cannot be exported: no other package knows it (msclap and laion models can be)")


FAMILY = Family(_load, _describe, _export, _rebuild, untrained=_untrained)
