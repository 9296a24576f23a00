"""Which tensors a model of each architecture has, and their shapes: what both readers check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from edgereason.errors import BundleError, UnsupportedError

from .base import Architecture

Shapes = dict[str, tuple[int, ...]]

_SHOWN: Final = 3


def expected(arch: Architecture) -> tuple[Shapes, Shapes]:
    """Shapes of the tensors that must be there, and of those that may."""
    embd, vocab = arch.num_embd, arch.num_vocab
    must: Shapes = {"token_embd.weight": (vocab, embd), "output_norm.weight": (embd,)}
    may: Shapes = {}
    if not arch.tied:
        must["output.weight"] = (vocab, embd)
    if arch.name == "gpt2":
        must |= {"position_embd.weight": (arch.context, embd), "output_norm.bias": (embd,)}
    layer_must, layer_may = _gpt2(arch) if arch.name == "gpt2" else _standard(arch)
    for i in range(arch.num_layers):
        must |= {f"blk.{i}.{name}": shape for name, shape in layer_must.items()}
        may |= {f"blk.{i}.{name}": shape for name, shape in layer_may.items()}
    return must, may


def check_tensors(arch: Architecture, found: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raises when a tensor is missing, of another shape, or none that a target knows."""
    must, may = expected(arch)
    known = must | may
    missing = [name for name in must if name not in found]
    if missing:
        raise BundleError(f"{where} lacks {_some(missing)}", "a file of it may be missing")
    strange = [name for name in found if name not in known]
    if strange:
        raise UnsupportedError(
            f"{where} has tensors that {arch.name} models do not have: {_some(strange)}",
            "only plain language models can be exported",
        )
    for name, shape in found.items():
        if shape != known[name]:
            raise BundleError(
                f"{name} has shape {shape}, expected {known[name]}", "its header is damaged"
            )


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _standard(arch: Architecture) -> tuple[Shapes, Shapes]:
    embd, ff = arch.num_embd, arch.num_ff
    wide, narrow = arch.num_heads * arch.head_dim, arch.num_kv_heads * arch.head_dim
    must: Shapes = {
        "attn_norm.weight": (embd,),
        "attn_q.weight": (wide, embd),
        "attn_k.weight": (narrow, embd),
        "attn_v.weight": (narrow, embd),
        "attn_output.weight": (embd, wide),
        "ffn_norm.weight": (embd,),
        "ffn_gate.weight": (ff, embd),
        "ffn_up.weight": (ff, embd),
        "ffn_down.weight": (embd, ff),
    }
    biases = {"attn_q.bias": (wide,), "attn_k.bias": (narrow,), "attn_v.bias": (narrow,)}
    if arch.name in ("qwen3", "gemma3"):
        must |= {"attn_q_norm.weight": (arch.head_dim,), "attn_k_norm.weight": (arch.head_dim,)}
    if arch.name == "gemma3":
        must |= {"post_attention_norm.weight": (embd,), "post_ffw_norm.weight": (embd,)}
    if arch.name == "qwen2":
        must |= biases
    may: Shapes = {} if arch.name == "gemma3" else {**biases}
    if arch.name == "llama":
        may["attn_output.bias"] = (embd,)
    return must, may


def _gpt2(arch: Architecture) -> tuple[Shapes, Shapes]:
    embd, ff = arch.num_embd, arch.num_ff
    weights: Shapes = {
        "attn_qkv.weight": (3 * embd, embd),
        "attn_output.weight": (embd, embd),
        "ffn_up.weight": (ff, embd),
        "ffn_down.weight": (embd, ff),
    }
    biases = {name.replace("weight", "bias"): shape[:1] for name, shape in weights.items()}
    norms = {
        f"{norm}.{part}": (embd,)
        for norm in ("attn_norm", "ffn_norm")
        for part in ("weight", "bias")
    }
    return {**weights, **biases, **norms}, {}
