"""Microsoft's CLAP on the `msclap` package's classes: `msclap-2022` (Cnn14, BERT), `msclap-2023` (HTSAT, GPT-2).

The stages call the package's own modules in the order of its own `forward`; tests hold them to it. What differs:
no random crop, no spectrogram augmentation, batch norm on stored statistics also in training.

Shapes: B batch, T samples, L tokens, H width of a tower, D embedding size.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
import yaml  # type: ignore[import-untyped]
from torch import Tensor, nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model
from transformers.modeling_utils import no_init_weights

from tclap.config import Trainable
from tclap.errors import InputError
from tclap.models import tokenise, weights
from tclap.models.split import Parts, SplitClap, padding_mask
from tclap.models.tokenise import Tokeniser

with warnings.catch_warnings():  # importing msclap silences every warning of the process
    from msclap.models import htsat
    from msclap.models.clap import CLAP, AudioEncoder, Projection, TextEncoder

REPO = "microsoft/msclap"


def build(name: str, weights_path: str | None, trainable: Trainable, seed: int = 0) -> SplitClap:
    """`msclap-2022` or `msclap-2023`.

    weights_path: a file or a folder that holds one, None for the hub, or "random" for weights drawn from `seed`.
    A folder beside the weights named as the text model (`bert-base-uncased`, `gpt2`) supplies its tokenizer, and
    its `config.json` where there is one. Raises InputError as `tclap.models.weights` does.
    """
    settings = _settings(name)
    if weights_path == weights.RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            clap = assemble(settings, text_config(settings, None))
        tokeniser = _random_tokeniser(settings)
        rebuild: dict[str, object] = {"weights": weights.RANDOM, "trainable": trainable, "seed": seed}
    else:
        text_model = settings["text_model"]
        placing = f"it in a folder with the tokenizer of {text_model} in {text_model}/, then pass --weights FOLDER"
        path = weights.locate(name, weights_path, REPO, files(name), placing)
        state = weights.read(path)
        with _unset():  # every learned tensor comes from the file: `fill` makes sure
            clap = assemble(settings, text_config(settings, path.parent))
        weights.fill(clap, state, name, path)
        kind = tokenise.bert if text_model.startswith("bert") else tokenise.gpt2
        tokeniser = kind(text_model, path.parent, settings["text_len"])
        kept = None if weights_path is None else str(Path(weights_path).expanduser().resolve())
        rebuild = {"weights": kept, "trainable": trainable}
    return split(name, clap, tokeniser, trainable, rebuild, untrained=weights_path == weights.RANDOM)


def skeleton(name: str, trainable: Trainable) -> SplitClap:
    """The architecture at its real size with unset weights: for counting, not for use. No file is needed."""
    settings = _settings(name)
    with _unset():
        clap = assemble(settings, text_config(settings, None))
    return split(name, clap, _random_tokeniser(settings), trainable, {}, untrained=True)


def split(
    name: str,
    clap: CLAP,
    tokeniser: Tokeniser,
    trainable: Trainable,
    rebuild: Mapping[str, object],
    untrained: bool,
) -> SplitClap:
    """`clap` as a `ContrastiveModel`."""
    settings = _settings(name)
    if settings["audioenc_name"] == "Cnn14":
        audio: Any = Cnn14Tower(clap.audio_encoder)
        text: Any = BertTower(clap.caption_encoder)
    else:
        audio = HtsatTower(clap.audio_encoder)
        text = Gpt2Tower(clap.caption_encoder)
    return SplitClap(
        name,
        clap,
        clap.logit_scale,
        audio,
        text,
        tokeniser,
        trainable=trainable,
        window_s=float(settings["duration"]),
        sample_rate_hz=settings["sampling_rate"],
        rebuild=rebuild,
        untrained=untrained,
    )


def assemble(settings: Mapping[str, Any], config: BertConfig | GPT2Config) -> CLAP:
    """msclap's CLAP, with a text model made from `config`: its own constructor would download one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")  # of the package's own HTSAT
        audio = AudioEncoder(
            settings["audioenc_name"],
            settings["out_emb"],
            settings["d_proj"],
            settings["sampling_rate"],
            settings["window_size"],
            settings["hop_size"],
            settings["mel_bins"],
            settings["fmin"],
            settings["fmax"],
            settings["num_classes"],
        )
    if settings["audioenc_name"] == "HTSAT":  # its config is a Python module, which can be neither copied nor pickled
        plain = {k: v for k, v in vars(audio.base.htsat.config).items() if not k.startswith("_")}
        audio.base.htsat.config = SimpleNamespace(**plain)
    text = TextEncoder.__new__(TextEncoder)
    nn.Module.__init__(text)
    text.text_model = settings["text_model"]
    text.base = BertModel(config) if isinstance(config, BertConfig) else GPT2Model(config)
    text.projection = Projection(config.hidden_size, settings["d_proj"])
    clap = CLAP.__new__(CLAP)
    nn.Module.__init__(clap)
    clap.audio_encoder = audio
    clap.caption_encoder = text
    clap.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
    return clap


def text_config(settings: Mapping[str, Any], beside: Path | None) -> BertConfig | GPT2Config:
    """The text model's configuration: `beside`/<text model>/config.json, else the standard one (= the defaults)."""
    kind = BertConfig if settings["text_model"].startswith("bert") else GPT2Config
    file = beside / settings["text_model"] / "config.json" if beside else None
    if file is None or not file.is_file():
        return kind()
    try:
        return kind.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error


class Cnn14Tower:
    """Cnn14: log-mel and convolutions, pooled over time to 2048-d | fc1 | projection. `fc_audioset` has no gradient."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self.base = encoder.base
        self.projection = encoder.projection
        self.parts = Parts((encoder,), (encoder.base.fc1, encoder.base.fc_audioset), (encoder.projection,))
        self.front_end = {"tower": "Cnn14"}

    def lower(self, wave: Tensor) -> Tensor:  # [B, T] -> [B, 2048]
        x = _normalised_log_mel(self.base, wave)
        blocks = [getattr(self.base, f"conv_block{i}") for i in range(1, 7)]
        for block in blocks:
            x = block(x, pool_size=(1, 1) if block is blocks[-1] else (2, 2), pool_type="avg")
            x = F.dropout(x, p=0.2, training=block.training)
        x = x.mean(dim=3)  # over mel bands
        return x.amax(dim=2) + x.mean(dim=2)  # over time

    def upper(self, lower: Tensor) -> Tensor:  # [B, 2048] -> [B, 2048]
        fc1 = self.base.fc1
        return F.relu(fc1(F.dropout(lower, p=0.5, training=fc1.training)))

    def project(self, pooled: Tensor) -> Tensor:  # [B, 2048] -> [B, D]
        return self.projection(F.dropout(pooled, p=0.5, training=self.projection.training))


class HtsatTower:
    """HTSAT: log-mel, patches and all stages but the last | last stage, norm, mean over patches | projection."""

    def __init__(self, encoder: AudioEncoder) -> None:
        self.htsat = encoder.base.htsat
        self.projection = encoder.projection
        self.parts = Parts((encoder,), (self.htsat.layers[-1], self.htsat.norm), (encoder.projection,))
        self.front_end = {"tower": "HTSAT"}

    def lower(self, wave: Tensor) -> Tensor:  # [B, T] -> [B, 64, H]
        x = self.htsat.reshape_wav2img(_normalised_log_mel(self.htsat, wave))
        x = self.htsat.pos_drop(self.htsat.patch_embed(x))
        for stage in self.htsat.layers[:-1]:
            x = _swin_stage(stage, x)
        return x

    def upper(self, lower: Tensor) -> Tensor:  # [B, 64, H] -> [B, H]
        return self.htsat.norm(_swin_stage(self.htsat.layers[-1], lower)).mean(dim=1)

    def project(self, pooled: Tensor) -> Tensor:  # [B, H] -> [B, D]
        return self.projection(pooled)


class BertTower:
    """BERT: all layers but the last | last layer at [CLS] | projection. The pooler is counted, but has no gradient."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.bert = encoder.base
        self.projection = encoder.projection
        last = encoder.base.encoder.layer[-1]
        self.parts = Parts((encoder,), (last, encoder.base.pooler), (encoder.projection,))

    def lower(self, ids: Tensor, lengths: Tensor) -> Tensor:  # [B, L] -> [B, L, H]
        x = self.bert.embeddings(input_ids=ids)
        mask = padding_mask(lengths, x)
        for layer in self.bert.encoder.layer[:-1]:
            x = layer(x, attention_mask=mask)[0]
        return x

    def upper(self, lower: Tensor, lengths: Tensor) -> Tensor:  # [B, L, H] -> [B, H]
        # Only [CLS] is read, so only [CLS] asks: the other rows of the layer would be computed for nothing.
        layer = self.bert.encoder.layer[-1]
        mask = padding_mask(lengths, lower)
        x = layer.attention(lower[:, :1], attention_mask=mask, encoder_hidden_states=lower)[0]
        return layer.feed_forward_chunk(x).squeeze(1)

    def project(self, pooled: Tensor) -> Tensor:  # [B, H] -> [B, D]
        return self.projection(pooled)


class Gpt2Tower:
    """GPT-2: all blocks but the last | last block and norm at the last token | projection.

    Causal, and padded at the end: no token sees padding, so no mask is needed.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.gpt2 = encoder.base
        self.projection = encoder.projection
        self.parts = Parts((encoder,), (encoder.base.h[-1], encoder.base.ln_f), (encoder.projection,))

    def lower(self, ids: Tensor, lengths: Tensor) -> Tensor:  # [B, L] -> [B, L, H]
        position = torch.arange(ids.shape[1], device=ids.device)
        x = self.gpt2.drop(self.gpt2.wte(ids) + self.gpt2.wpe(position))
        for block in self.gpt2.h[:-1]:
            x = block(x)[0]
        return x

    def upper(self, lower: Tensor, lengths: Tensor) -> Tensor:  # [B, L, H] -> [B, H]
        x = self.gpt2.h[-1](lower)[0]
        return self.gpt2.ln_f(x[torch.arange(len(x), device=x.device), lengths - 1])

    def project(self, pooled: Tensor) -> Tensor:  # [B, H] -> [B, D]
        return self.projection(pooled)


def _normalised_log_mel(base: Any, wave: Tensor) -> Tensor:
    """[B, T] -> [B, 1, frames, mels], through bn0, in float32. Nothing is learned before bn0."""
    with torch.autocast(wave.device.type, enabled=False):
        with torch.no_grad():
            x = base.logmel_extractor(base.spectrogram_extractor(wave))
        return base.bn0(x.transpose(1, 3)).transpose(1, 3)


def _swin_stage(stage: Any, x: Tensor) -> Tensor:
    """A stage without the attention maps that its own forward collects."""
    for block in stage.blocks:
        x = block(x)[0]
    return x if stage.downsample is None else stage.downsample(x)


@contextlib.contextmanager
def _unset() -> Iterator[None]:
    """Modules are made without drawing initial weights: HTSAT draws its own, which takes seconds."""
    draw = htsat.trunc_normal_
    htsat.trunc_normal_ = lambda tensor, **_: tensor
    try:
        with no_init_weights():
            yield
    finally:
        htsat.trunc_normal_ = draw


def _settings(name: str) -> dict[str, Any]:
    """The package's own configuration of a version."""
    file = importlib.resources.files("msclap") / "configs" / f"config_{name.removeprefix('msclap-')}.yml"
    settings: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return settings


def files(name: str) -> tuple[str, ...]:
    """The weights' file names, in the order of preference."""
    stem = f"CLAP_weights_{name.removeprefix('msclap-')}"
    return (f"{stem}.pth", f"{stem}.safetensors")


def _random_tokeniser(settings: Mapping[str, Any]) -> Tokeniser:
    if settings["text_model"].startswith("bert"):
        return tokenise.hashed_words(BertConfig().vocab_size, first=101, last=102, pad_id=0)  # [CLS], [SEP]
    return tokenise.hashed_words(GPT2Config().vocab_size, first=None, last=50256, pad_id=0)  # <|endoftext|>
