"""A nano model as a Hugging Face folder, weights in 16 bit; read back from any form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from edgereason.errors import BundleError
from edgereason.export.sources.base import Architecture
from edgereason.export.sources.open import open_source

from . import tokenizer as vocabulary
from .model import Nano, Shape

_CARD: Final = """---
license: apache-2.0
---
A model of edgereason's nano family, trained from scratch by `edgereason.training.nano`.
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
_LAYER_NAMES: Final = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
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
    (folder / "generation_config.json").write_text('{"do_sample": false}\n', "utf-8")
    (folder / "README.md").write_text(_CARD, "utf-8")
    vocabulary.save(tokenizer, folder)


def load(name: str | Path) -> tuple[Nano, Tokenizer]:
    """The model in float32, ready to evaluate, from whatever `edgereason export` can read."""
    with open_source(name) as source:
        arch = source.architecture
        shape = Shape(**{field.name: getattr(arch, field.name) for field in fields(Shape)})
        words = vocabulary.build()
        if arch.name != "llama" or arch.num_vocab != words.get_vocab_size():
            raise BundleError(f"{source.name} is not a model of the nano family")
        model = Nano(shape)
        weights = {their: torch.from_numpy(source.tensor(our)) for our, their in _names(arch)}
    model.load_state_dict(weights)
    return model.eval(), words


def _names(arch: Architecture) -> Iterator[tuple[str, str]]:
    """Each tensor's name in GGUF and here."""
    yield "token_embd.weight", "model.embed_tokens.weight"
    yield "output_norm.weight", "model.norm.weight"
    for layer in range(arch.num_layers):
        for our, their in _LAYER_NAMES.items():
            yield f"blk.{layer}.{our}.weight", f"model.layers.{layer}.{their}.weight"
