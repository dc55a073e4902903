"""Microsoft's CLAP on the `msclap` package's classes: `msclap-2022` (Cnn14, BERT), `msclap-2023` (HTSAT, GPT-2).

Its classes are put together here without its downloads; the towers over them are in `msclap_towers`.
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
import yaml  # type: ignore[import-untyped]
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model
from transformers.modeling_utils import no_init_weights

from tclap.config import Trainable
from tclap.errors import InputError
from tclap.models import tokenise, weights
from tclap.models.family import Family, Listing
from tclap.models.msclap_towers import BertTower, Cnn14Tower, Gpt2Tower, HtsatTower
from tclap.models.protocol import ContrastiveModel
from tclap.models.split import Origin, SplitClap, describe
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
        rebuild = {"weights": weights.found_from_anywhere(weights_path), "trainable": trainable}
    return split(name, clap, tokeniser, Origin(trainable, rebuild, untrained=weights_path == weights.RANDOM))


def skeleton(name: str, trainable: Trainable) -> SplitClap:
    """The architecture at its real size with unset weights: for counting, not for use. No file is needed."""
    settings = _settings(name)
    with _unset():
        clap = assemble(settings, text_config(settings, None))
    return split(name, clap, _random_tokeniser(settings), Origin(trainable, {}, untrained=True))


def split(name: str, clap: CLAP, tokeniser: Tokeniser, origin: Origin) -> SplitClap:
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
        origin,
        window_s=float(settings["duration"]),
        sample_rate_hz=settings["sampling_rate"],
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


def _export(model: ContrastiveModel, out: Path) -> str:
    assert isinstance(model, SplitClap), "of this family"
    out.mkdir(parents=True, exist_ok=True)
    file = out / files(model.name)[0]
    torch.save({"model": model.clap.state_dict()}, file)
    return f'msclap.CLAP(model_fp="{file}", version="{model.name.removeprefix("msclap-")}")'


def _describe(name: str, trainable: Trainable, weights_path: str | None) -> Listing:
    return describe(skeleton(name, trainable), weights_path, REPO, files(name))


FAMILY = Family(build, _describe, _export)
