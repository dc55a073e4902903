"""LAION's own checkpoint files (`630k-audioset-best.pt` and its like) under the names of transformers' `ClapModel`.

The files hold `state_dict`, whose names start with `module.`. Which architecture it is (HTSAT's size, fused or not) is
read off the tensors. Only HTSAT with RoBERTa is supported, which all published files are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor
from transformers import ClapConfig

from tclap.errors import InputError

RENAMED = (
    (r"^text_branch\.", "text_model."),
    (r"^audio_branch\.", "audio_model.audio_encoder."),
    (r"\.bn0\.", ".batch_norm."),
    (r"^(text|audio)_projection\.0\.", r"\1_projection.linear1."),
    (r"^(text|audio)_projection\.2\.", r"\1_projection.linear2."),
    # HTSAT's blocks
    (r"\.attn\.relative_position_", ".attention.self.relative_position_"),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
    (r"(blocks\.\d+)\.norm1\.", r"\1.layernorm_before."),
    (r"(blocks\.\d+)\.norm2\.", r"\1.layernorm_after."),
)
ROBERTA_EPSILON = 1e-5  # roberta-base's own; transformers' copies of CLAP say 1e-12
HEAD_WIDTH = 64  # of RoBERTa


def is_laions(state: Mapping[str, Tensor]) -> bool:
    return any(name.removeprefix("module.").startswith("audio_branch.") for name in state)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` under transformers' names, queries, keys and values apart. Other tensors stay as they are."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        name = name.removeprefix("module.")
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        if ".attn.qkv." in name:
            for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                out[name.replace(".attn.qkv.", f".attention.self.{part}.")] = rows
        else:
            out[name] = tensor
    return out


def config(state: Mapping[str, Tensor], path: Path) -> ClapConfig:
    """The configuration of a `renamed` state. Raises InputError if the towers are not HTSAT and RoBERTa."""
    audio, text = "audio_model.audio_encoder.", "text_model."
    try:
        patches = state[f"{audio}patch_embed.proj.weight"]  # [C, 1, 4, 4]
        stages = _numbers(state, rf"{re.escape(audio)}layers\.(\d+)\.")
        depths = [_numbers(state, rf"{re.escape(audio)}layers\.{stage}\.blocks\.(\d+)\.") for stage in range(stages)]
        tables = [
            state[f"{audio}layers.{stage}.blocks.0.attention.self.relative_position_bias_table"]
            for stage in range(stages)
        ]  # [(2 * window - 1)^2, heads]
        words = state[f"{text}embeddings.word_embeddings.weight"]  # [vocabulary, H]
        positions = state[f"{text}embeddings.position_embeddings.weight"]
        between = state[f"{text}encoder.layer.0.intermediate.dense.weight"]
        projection = state["text_projection.linear1.weight"]  # [D, H]
    except KeyError as error:
        raise InputError(f"{path} is not LAION's CLAP with HTSAT and RoBERTa: it lacks {error}") from error
    fused = f"{audio}patch_embed.mel_conv2d.weight" in state
    layers = _numbers(state, rf"{re.escape(text)}encoder\.layer\.(\d+)\.")
    return ClapConfig(
        audio_config={
            "patch_embeds_hidden_size": patches.shape[0],
            "hidden_size": patches.shape[0] * 2 ** (stages - 1),
            "depths": depths,
            "num_attention_heads": [table.shape[1] for table in tables],
            "enable_fusion": fused,
            "fusion_type": "aff_2d" if fused else None,
        },
        text_config={
            "vocab_size": words.shape[0],
            "hidden_size": words.shape[1],
            "num_hidden_layers": layers,
            "num_attention_heads": words.shape[1] // HEAD_WIDTH,
            "intermediate_size": between.shape[0],
            "max_position_embeddings": positions.shape[0],
            "layer_norm_eps": ROBERTA_EPSILON,
        },
        projection_dim=projection.shape[0],
    )


def _numbers(names: Iterable[str], pattern: str) -> int:
    """How many different numbers the pattern's group takes."""
    return len({found.group(1) for name in names if (found := re.match(pattern, name))})
