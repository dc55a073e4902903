"""LAION's CLAP on transformers' `ClapModel`: HTSAT without fusion, and RoBERTa; 10 s at 48 kHz.

Shapes: B batch, T samples, L tokens, H width of a tower, D embedding size.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel
from transformers.modeling_utils import no_init_weights

from tclap.config import Trainable
from tclap.errors import InputError
from tclap.models import tokenise, weights
from tclap.models.split import Parts, SplitClap, padding_mask
from tclap.models.tokenise import Tokeniser

NAME = "laion"
REPO = "laion/clap-htsat-unfused"
FILES: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
PLACING = "it in a folder with config.json and the tokenizer's files, then pass --weights FOLDER"
MAX_TOKENS = 512  # RoBERTa's positions
# The checkpoint's preprocessor_config.json: without fusion, and with slaney mel bands as "rand_trunc" implies.
FRONT_END: dict[str, Any] = {
    "feature_size": 64,
    "sampling_rate": 48_000,
    "hop_length": 480,
    "fft_window_size": 1024,
    "max_length_s": 10,
    "frequency_min": 50,
    "frequency_max": 14_000,
    "truncation": "rand_trunc",
    "padding": "repeatpad",
}
LOWEST_POWER = 1e-10  # as transformers.audio_utils clips before it takes decibels


def build(weights_path: str | None, trainable: Trainable, seed: int = 0) -> SplitClap:
    """LAION's CLAP.

    weights_path: a folder as the hub has it (config.json, model.safetensors or pytorch_model.bin, and the tokenizer
    there or in a folder `clap-htsat-unfused` within), a weights file in such a folder, None for the hub, or
    "random" for weights drawn from `seed`. Raises InputError as `tclap.models.weights` does.
    """
    if weights_path == weights.RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            clap = ClapModel(ClapConfig())
        rebuild: dict[str, object] = {"weights": weights.RANDOM, "trainable": trainable, "seed": seed}
        return _split(clap, _random_tokeniser(), trainable, rebuild, untrained=True)
    path = weights.locate(NAME, weights_path, REPO, FILES, PLACING)
    state = weights.read(path)
    with no_init_weights():  # every learned tensor comes from the file: `fill` makes sure
        clap = ClapModel(_config(path.parent))
    weights.fill(clap, state, NAME, path)
    tokeniser = tokenise.roberta(REPO, path.parent, MAX_TOKENS)
    kept = None if weights_path is None else str(Path(weights_path).expanduser().resolve())
    return _split(clap, tokeniser, trainable, {"weights": kept, "trainable": trainable}, untrained=False)


def skeleton(trainable: Trainable) -> SplitClap:
    """The architecture at its real size with unset weights: for counting, not for use. No file is needed."""
    with no_init_weights():
        clap = ClapModel(ClapConfig())
    return _split(clap, _random_tokeniser(), trainable, {}, untrained=True)


def save_pretrained(model: SplitClap, folder: Path) -> None:
    """Write weights, configuration, feature extractor and tokenizer as transformers reads them from a folder.

    The scale that was trained becomes that of both directions. Random weights come without a tokenizer: they have none.
    """
    clap = model.clap
    assert isinstance(clap, ClapModel), "laion's"
    with torch.no_grad():
        clap.logit_scale_t.copy_(clap.logit_scale_a)
    clap.save_pretrained(folder)
    ClapFeatureExtractor(**FRONT_END).save_pretrained(folder)
    tokenise.save(model.tokeniser, folder)


class ClapAudioTower:
    """HTSAT: log-mel, patches and all stages but the last | last stage, norm, mean over patches | projection."""

    def __init__(self, clap: ClapModel) -> None:
        self.encoder = clap.audio_model.audio_encoder
        self.projection = clap.audio_projection
        self.parts = Parts(
            (clap.audio_model, clap.audio_projection),
            (self.encoder.layers[-1], self.encoder.norm),
            (clap.audio_projection,),
        )
        self.front_end = {"tower": "ClapAudio", **FRONT_END}
        extractor = ClapFeatureExtractor(**FRONT_END)
        self._bands = torch.from_numpy(extractor.mel_filters_slaney)  # [bins, mels], float64

    def lower(self, wave: Tensor) -> Tensor:  # [B, T] -> [B, 64, H]
        encoder = self.encoder
        with torch.autocast(wave.device.type, enabled=False):
            x = encoder.batch_norm(self.log_mel(wave).transpose(1, 3)).transpose(1, 3)
        x = encoder.patch_embed(encoder.reshape_mel2img(x))
        for stage, size in zip(encoder.layers[:-1], encoder.input_resolutions, strict=False):
            x = stage(x, size)[0]
        return x

    def upper(self, lower: Tensor) -> Tensor:  # [B, 64, H] -> [B, H]
        x = self.encoder.layers[-1](lower, self.encoder.input_resolutions[-1])[0]
        return self.encoder.norm(x).mean(dim=1)

    def project(self, pooled: Tensor) -> Tensor:  # [B, H] -> [B, D]
        return self.projection(pooled)

    @torch.no_grad()
    def log_mel(self, wave: Tensor) -> Tensor:
        """[B, T] -> [B, 1, frames, mels] in dB, as `ClapFeatureExtractor` computes it (in float64, on numpy)."""
        size = FRONT_END["fft_window_size"]
        window = torch.hann_window(size, periodic=True, dtype=torch.float64, device=wave.device)
        spectrum = torch.stft(
            wave.double(),
            size,
            FRONT_END["hop_length"],
            window=window,
            pad_mode="reflect",
            return_complex=True,
        )  # [B, bins, frames]
        power = spectrum.abs().square().transpose(1, 2) @ self._bands.to(wave.device)  # [B, frames, mels]
        return (10 * power.clamp(min=LOWEST_POWER).log10()).to(wave.dtype).unsqueeze(1)


class ClapTextTower:
    """RoBERTa: all layers but the last | last layer, pooler | projection."""

    def __init__(self, clap: ClapModel) -> None:
        self.roberta = clap.text_model
        self.projection = clap.text_projection
        self.parts = Parts(
            (clap.text_model, clap.text_projection),
            (clap.text_model.encoder.layer[-1], clap.text_model.pooler),
            (clap.text_projection,),
        )

    def lower(self, ids: Tensor, lengths: Tensor) -> Tensor:  # [B, L] -> [B, L, H]
        x = self.roberta.embeddings(input_ids=ids)
        mask = padding_mask(lengths, x)
        for layer in self.roberta.encoder.layer[:-1]:
            x = layer(x, attention_mask=mask)[0]
        return x

    def upper(self, lower: Tensor, lengths: Tensor) -> Tensor:  # [B, L, H] -> [B, H]
        x = self.roberta.encoder.layer[-1](lower, attention_mask=padding_mask(lengths, lower))[0]
        return self.roberta.pooler(x)

    def project(self, pooled: Tensor) -> Tensor:  # [B, H] -> [B, D]
        return self.projection(pooled)


def _split(
    clap: ClapModel, tokeniser: Tokeniser, trainable: Trainable, rebuild: dict[str, object], untrained: bool
) -> SplitClap:
    """`clap` as a `ContrastiveModel`. Of its two scales, that of audio anchors serves both; the other is not used."""
    audio: Any = ClapAudioTower(clap)
    text: Any = ClapTextTower(clap)
    return SplitClap(
        NAME,
        clap,
        clap.logit_scale_a,
        audio,
        text,
        tokeniser,
        trainable=trainable,
        window_s=float(FRONT_END["max_length_s"]),
        sample_rate_hz=FRONT_END["sampling_rate"],
        rebuild=rebuild,
        untrained=untrained,
    )


def _config(folder: Path) -> ClapConfig:
    """`folder`/config.json, else the published model's (= the defaults). Raises InputError: unreadable, or fused."""
    file = folder / "config.json"
    if not file.is_file():
        return ClapConfig()
    try:
        config = ClapConfig.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    if config.audio_config.enable_fusion:
        raise InputError(f"{file} is of a model with fusion; laion needs one without, such as {REPO}")
    return config


def _random_tokeniser() -> Tokeniser:
    return tokenise.hashed_words(ClapConfig().text_config.vocab_size, first=0, last=2, pad_id=1)  # <s>, </s>
