"""Small pretrained models made here: real audio towers, three-layer text models, local tokenizers; no downloads."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import BertConfig, ClapConfig, ClapModel, GPT2Config
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

from tclap.models import msclap

TEXTS = ("dog before cat", "a machine whines, squeals and rattles", "wow! a cat! then nothing", "rain")
WORDS = ("dog", "cat", "before", "while", "after", "rain", "sound", "the", "of", "a", "and")
SMALL_BERT = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
SMALL_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4}
SMALL_CLAP_TEXT = SMALL_BERT | {"projection_hidden_act": "relu"}
SMALL_CLAP_AUDIO = {
    "patch_embeds_hidden_size": 16,
    "hidden_size": 128,
    "depths": [1, 1, 2, 2],
    "num_attention_heads": [2, 2, 4, 4],
}


def bert_tokenizer(folder: Path) -> int:
    """Write a WordPiece vocabulary; its size."""
    letters = string.ascii_lowercase + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), *WORDS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return len(pieces)


def byte_level_tokenizer(folder: Path, special: tuple[str, ...], first: bool) -> int:
    """Write a byte-level BPE; `special` stand before the bytes or after them. Its size."""
    pieces = list(bytes_to_unicode().values())  # '!' comes first, as in the real GPT-2
    merges = ["d o", "do g", "Ġ c", "Ġc a", "Ġca t", "! !"]
    merged = [merge.replace(" ", "") for merge in merges]
    tokens = [*special, *pieces, *merged] if first else [*pieces, *merged, *special]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return len(tokens)


def stir_batch_norm(module: nn.Module) -> None:
    """Statistics that are not the initial ones, so that a test would see them change."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.8, 1.2)


def windows(n: int, seconds: float, rate_hz: int, seed: int = 0) -> torch.Tensor:
    """[n, T] tones in noise with a silent stretch."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = 0.02 * rng.standard_normal((n, len(t))) + 0.1 * np.sin(2 * np.pi * rng.uniform(200, 4000, (n, 1)) * t)
    wave[0, len(t) // 2 : len(t) // 2 + rate_hz] = 0
    return torch.from_numpy(wave.astype(np.float32))


def write_weights(root: Path) -> dict[str, Path]:
    """Model name -> folder below `root` with weights, tokenizer and text configuration."""
    torch.manual_seed(0)
    folders = {name: root / name for name in ("msclap-2022", "msclap-2023", "laion")}
    for name in ("msclap-2022", "msclap-2023"):
        settings = msclap._settings(name)
        text = folders[name] / settings["text_model"]
        if name == "msclap-2022":
            config = BertConfig(vocab_size=bert_tokenizer(text), **SMALL_BERT)
        else:
            config = GPT2Config(vocab_size=byte_level_tokenizer(text, ("<|endoftext|>",), first=False), **SMALL_GPT2)
        (text / "config.json").write_text(config.to_json_string())
        clap = msclap.assemble(settings, config)
        stir_batch_norm(clap)
        torch.save({"model": clap.state_dict(), "epoch": 3}, folders[name] / msclap.files(name)[0])
    folder = folders["laion"]
    size = byte_level_tokenizer(folder, ("<s>", "<pad>", "</s>", "<unk>", "<mask>"), first=True)
    clap_config = ClapConfig(
        text_config=SMALL_CLAP_TEXT | {"vocab_size": size}, audio_config=SMALL_CLAP_AUDIO, projection_dim=24
    )
    laion = ClapModel(clap_config)
    stir_batch_norm(laion)
    (folder / "config.json").write_text(clap_config.to_json_string())
    save_file(laion.state_dict(), folder / "model.safetensors")
    return folders
