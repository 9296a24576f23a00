"""A nano model as a Hugging Face folder, weights in 16 bit; read back without transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from . import tokenizer as vocabulary
from .model import Nano, Shape

_CARD: Final = """---
license: apache-2.0
---
A model of edgereason's nano family, trained from scratch by `edgereason.export.recipes.nano`.
"""
_CONFIG_NAMES: Final = {
    "num_vocab": "vocab_size",
    "num_embd": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "num_ff": "intermediate_size",
    "context": "max_position_embeddings",
    "rope_theta": "rope_theta",
    "norm_eps": "rms_norm_eps",
}


def config_of(
    shape: Shape, tokenizer: Tokenizer, variant: Mapping[str, Any] | None
) -> dict[str, Any]:
    """`config.json` as transformers and the exporter read it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **{theirs: getattr(shape, ours) for ours, theirs in _CONFIG_NAMES.items()},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "bos_token_id": tokenizer.token_to_id(vocabulary.END),
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        **({"edgereason": {"variant": dict(variant)}} if variant else {}),
    }


def save(
    model: Nano, tokenizer: Tokenizer, folder: Path, variant: Mapping[str, Any] | None = None
) -> None:
    """`variant`: how the model has learned to think, where that is not plain text."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: weight.to("cpu", torch.float16).contiguous()
        for name, weight in model.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps(config_of(model.shape, tokenizer, variant), indent=2)
    (folder / "config.json").write_text(text + "\n", "utf-8")
    (folder / "README.md").write_text(_CARD, "utf-8")
    vocabulary.save(tokenizer, folder)


def load(folder: Path) -> tuple[Nano, Tokenizer]:
    """The model in float32, ready to evaluate."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    shape = Shape(**{field.name: config[_CONFIG_NAMES[field.name]] for field in fields(Shape)})
    model = Nano(shape)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))
