"""LAION's CLAP on transformers' `ClapModel`: HTSAT, fused or not, and RoBERTa; 10 s at 48 kHz.

Shapes: B batch, T samples, L tokens, H width of a tower, D embedding size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel
from transformers.modeling_utils import no_init_weights

from tclap.config import HUB_PREFIX, Trainable
from tclap.errors import InputError
from tclap.models import laion_files, tokenise, weights
from tclap.models.family import Family, Listing
from tclap.models.protocol import ContrastiveModel
from tclap.models.split import Origin, Parts, SplitClap, describe, padding_mask
from tclap.models.tokenise import Tokeniser

REPO = "laion/clap-htsat-unfused"
FILES: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
PLACING = "it in a folder with config.json and the tokenizer's files, then pass --weights FOLDER"
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
POSITIONS_BEFORE = 2  # RoBERTa counts positions from its padding id on
LOWEST_POWER = 1e-10  # as transformers.audio_utils clips before it takes decibels


def build(name: str, weights_path: str | None, trainable: Trainable, seed: int = 0) -> SplitClap:
    """`laion`, or `hf:` with a hub repository or a local folder that transformers' `ClapModel` loads, fused or not.

    weights_path: for `laion` a folder as the hub has it (config.json, model.safetensors or pytorch_model.bin, and the
    tokenizer there or in a folder `clap-htsat-unfused` within), a weights file in such a folder, or a checkpoint file
    of LAION's own (`630k-audioset-best.pt`); None for the hub, or "random" for weights drawn from `seed`. `hf:` names
    its weights itself. Raises InputError as `tclap.models.weights` does.
    """
    if weights_path == weights.RANDOM and not name.startswith(HUB_PREFIX):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            clap = ClapModel(ClapConfig())
        random: dict[str, object] = {"weights": weights.RANDOM, "trainable": trainable, "seed": seed}
        return _split(name, clap, FRONT_END, _random_tokeniser(), Origin(trainable, random, untrained=True))
    path, repo, rebuild = _located(name, weights_path)
    state = weights.read(path)
    if laion_files.is_laions(state):
        state = laion_files.renamed(state)
        config, front_end = laion_files.config(state, path), None
    else:
        config = _config(weights.beside(path, repo, "config.json"))
        front_end = weights.beside(path, repo, "preprocessor_config.json")
    with no_init_weights():  # every learned tensor comes from the file: `fill` makes sure
        clap = ClapModel(config)
    weights.fill(clap, state, name, path)
    longest = config.text_config.max_position_embeddings - POSITIONS_BEFORE
    tokeniser = tokenise.roberta(repo or REPO, path.parent, longest)
    rebuild["trainable"] = trainable
    return _split(name, clap, _front_end(front_end, config), tokeniser, Origin(trainable, rebuild, untrained=False))


def _located(name: str, weights_path: str | None) -> tuple[Path, str | None, dict[str, object]]:
    """The weights' file, the repository to ask for what does not lie beside it, and arguments for `rebuild_config`."""
    if not name.startswith(HUB_PREFIX):
        path = weights.locate(name, weights_path, REPO, FILES, PLACING)
        # What does not lie beside the weights is as in FRONT_END and ClapConfig's defaults.
        return path, None, {"weights": weights.found_from_anywhere(weights_path)}
    if weights_path is not None:
        raise InputError(f"{name} names its weights itself: leave --weights {weights_path} away")
    source = name.removeprefix(HUB_PREFIX)
    if Path(source).is_dir():
        return weights.locate(name, source, REPO, FILES, ""), None, {}
    return weights.locate(name, None, source, FILES, f"it in a folder, then pass {HUB_PREFIX}FOLDER"), source, {}


def skeleton(name: str, trainable: Trainable) -> SplitClap:
    """The architecture at its real size with unset weights: for counting, not for use. No weights are needed.

    Raises InputError for a model of the hub whose config.json is not here.
    """
    config = ClapConfig()
    if name.startswith(HUB_PREFIX):
        source = name.removeprefix(HUB_PREFIX)
        here = Path(source) / "config.json" if Path(source).is_dir() else weights.cached(source, ["config.json"])
        if here is None:
            raise InputError(f"{name} is not here, so its parameters are not known")
        config = _config(here)
    with no_init_weights():
        clap = ClapModel(config)
    return _split(name, clap, _front_end(None, config), _random_tokeniser(), Origin(trainable, {}, untrained=True))


def _export(model: ContrastiveModel, folder: Path) -> str:
    """Write weights, configuration, feature extractor and tokenizer as transformers reads them from a folder.

    The scale that was trained becomes that of both directions. Random weights come without a tokenizer: they have none.
    """
    assert isinstance(model, SplitClap), "of this family"
    clap, audio = model.clap, model.audio
    assert isinstance(clap, ClapModel), "of this family"
    assert isinstance(audio, ClapAudioTower), "of this family"
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        clap.logit_scale_t.copy_(clap.logit_scale_a)
    clap.save_pretrained(folder)
    ClapFeatureExtractor(**audio.settings).save_pretrained(folder)
    tokenise.save(model.tokeniser, folder)
    return f'transformers.ClapModel.from_pretrained("{folder}")'


def _describe(name: str, trainable: Trainable, weights_path: str | None) -> Listing:
    repo = name.removeprefix(HUB_PREFIX) if name.startswith(HUB_PREFIX) else REPO
    return describe(skeleton(name, trainable), repo if Path(repo).is_dir() else weights_path, repo, FILES)


class ClapAudioTower:
    """HTSAT: log-mel, patches and all stages but the last | last stage, norm, mean over patches | projection."""

    def __init__(self, clap: ClapModel, front_end: Mapping[str, Any]) -> None:
        self.encoder = clap.audio_model.audio_encoder
        self.projection = clap.audio_projection
        self.parts = Parts(
            (clap.audio_model, clap.audio_projection),
            (self.encoder.layers[-1], self.encoder.norm),
            (clap.audio_projection,),
        )
        self.settings = dict(front_end)
        self.front_end = {"tower": "ClapAudio", **front_end}
        extractor = ClapFeatureExtractor(**front_end)
        bands = extractor.mel_filters if front_end["truncation"] == "fusion" else extractor.mel_filters_slaney
        self._bands = torch.from_numpy(bands)  # [bins, mels], float64

    def lower(self, wave: Tensor) -> Tensor:  # [B, T] -> [B, 64, H]
        encoder = self.encoder
        with torch.autocast(wave.device.type, enabled=False):
            x = encoder.batch_norm(self.log_mel(wave).transpose(1, 3)).transpose(1, 3)
        # None is longer than the window. The extractor marks one at random as longer if none is: not repeated here,
        # since an embedding would depend on the windows that it is computed with.
        x = encoder.patch_embed(encoder.reshape_mel2img(x), ())
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
        size = self.settings["fft_window_size"]
        window = torch.hann_window(size, periodic=True, dtype=torch.float64, device=wave.device)
        spectrum = torch.stft(
            wave.double(),
            size,
            self.settings["hop_length"],
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
    name: str,
    clap: ClapModel,
    front_end: Mapping[str, Any],
    tokeniser: Tokeniser,
    origin: Origin,
) -> SplitClap:
    """`clap` as a `ContrastiveModel`. Of its two scales, that of audio anchors serves both; the other is not used."""
    audio: Any = ClapAudioTower(clap, front_end)
    text: Any = ClapTextTower(clap)
    return SplitClap(
        name,
        clap,
        clap.logit_scale_a,
        audio,
        text,
        tokeniser,
        origin,
        window_s=float(front_end["max_length_s"]),
        sample_rate_hz=front_end["sampling_rate"],
    )


def _config(file: Path | None) -> ClapConfig:
    """What a config.json says, else the published model's (= the defaults). Raises InputError: unreadable."""
    return ClapConfig() if file is None else ClapConfig.from_dict(_json(file))


def _front_end(file: Path | None, config: ClapConfig) -> dict[str, Any]:
    """What of a preprocessor_config.json makes the log-mel, else what the published models have."""
    fused = config.audio_config.enable_fusion
    given = {} if file is None else _json(file)
    standard = FRONT_END | {"truncation": "fusion" if fused else "rand_trunc"}
    return {setting: given.get(setting, value) for setting, value in standard.items()}


def _json(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    return content


def _random_tokeniser() -> Tokeniser:
    return tokenise.hashed_words(ClapConfig().text_config.vocab_size, first=0, last=2, pad_id=1)  # <s>, </s>


def _identity(name: str, weights_path: str | None, trainable: Trainable, seed: int) -> str | None:
    """Of a local folder the digest of its weights; a name of the hub stands for itself."""
    source = name.removeprefix(HUB_PREFIX)
    if source == name or not Path(source).is_dir():
        return None
    digest = hashlib.sha256()
    with weights.locate(name, source, REPO, FILES, "").open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return f"weights {digest.hexdigest()[:16]}"


FAMILY = Family(build, _describe, _export, identity=_identity)
