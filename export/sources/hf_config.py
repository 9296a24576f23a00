"""What `config.json` says of a model's shape, in the spellings of old and new `transformers`.

Refuses what no target knows, by name. Reads no weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from edgereason.errors import BundleError, UnsupportedError

from .base import ARCHITECTURES, Architecture, refuse

# `model_type` -> the architecture, where they differ.
_TYPES: Final = {"gemma3_text": "gemma3"}
_ACTIVATIONS: Final = {"gpt2": ("gelu_new", "gelu_pytorch_tanh"), "gemma3": ("gelu_pytorch_tanh",)}
_ROPES: Final = ("default", "linear", "llama3")
_LOCAL_THETA: Final = 10000.0

# What a config may switch on, and no target knows.
_UNKNOWN_PARTS: Final = (
    ("attn_logit_softcapping", "caps its attention"),
    ("final_logit_softcapping", "caps its logits"),
    ("scale_attn_by_inverse_layer_idx", "scales attention by the layer's number"),
    ("add_cross_attention", "attends to another model"),
    ("use_bidirectional_attention", "looks ahead"),
    ("use_sliding_window", "slides its window over some layers"),
)


def architecture_of(config: Mapping[str, Any], tied: bool) -> Architecture:
    """`tied`: the language head is the embedding."""
    try:
        return _architecture(config, tied)
    except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise BundleError(
            f"config.json is not what it should be: {type(error).__name__} {error}",
            "fetch it again",
        ) from None


def _architecture(config: Mapping[str, Any], tied: bool) -> Architecture:
    name = _name(str(config.get("model_type", "")))
    _refuse_unknown_parts(config, name)
    if name == "gpt2":
        return _gpt2(config)
    heads, embd = _count(config, "num_attention_heads"), _count(config, "hidden_size")
    layers = _count(config, "num_hidden_layers")
    head_dim = _count(config, "head_dim", embd // heads)
    ropes = config.get("rope_parameters") or {}
    if name == "gemma3":
        more = _gemma3(config, ropes, head_dim)
        rope = ropes.get("full_attention") or _old_rope(config, 1e6)
    else:
        more = {}
        rope = ropes or _old_rope(config, 10000.0)
    if name == "smollm3":
        listed = config.get("no_rope_layers")
        step = _count(config, "no_rope_layer_interval", 4)
        more["rope_layers"] = tuple(map(bool, listed or ((i + 1) % step for i in range(layers))))
    return Architecture(
        name=name,
        num_layers=layers,
        num_embd=embd,
        num_heads=heads,
        num_kv_heads=_count(config, "num_key_value_heads", heads),
        head_dim=head_dim,
        num_ff=_count(config, "intermediate_size"),
        num_vocab=_count(config, "vocab_size"),
        context=_count(config, "max_position_embeddings"),
        norm_eps=_number(config, "rms_norm_eps", 1e-6),
        rope_theta=_number(rope, "rope_theta"),
        rope_scale=_number(rope, "factor", 1.0) if _rope_kind(rope) == "linear" else 1.0,
        rope_factors=_llama3(rope, head_dim) if _rope_kind(rope) == "llama3" else (),
        tied=tied,
        **more,
    )


def _name(kind: str) -> str:
    if kind == "gemma3":
        raise UnsupportedError(
            "cannot export gemma3 with its vision part", "give a text-only one: gemma3_text"
        )
    name = _TYPES.get(kind, kind)
    if name not in ARCHITECTURES:
        raise refuse(kind)
    return name


def _gpt2(config: Mapping[str, Any]) -> Architecture:
    embd, heads = _count(config, "n_embd"), _count(config, "n_head")
    return Architecture(
        name="gpt2",
        num_layers=_count(config, "n_layer"),
        num_embd=embd,
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=embd // heads,
        num_ff=_count(config, "n_inner", 4 * embd),
        num_vocab=_count(config, "vocab_size"),
        context=_count(config, "n_positions"),
        norm_eps=_number(config, "layer_norm_epsilon", 1e-5),
        tied=True,
    )


def _gemma3(config: Mapping[str, Any], ropes: Any, head_dim: int) -> dict[str, Any]:
    layers, window = _count(config, "num_hidden_layers"), config.get("sliding_window") or 0
    step = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6
    kinds = config.get("layer_types")
    sliding = (
        tuple(kind == "sliding_attention" for kind in kinds)
        if kinds
        else tuple((i + 1) % int(step) != 0 for i in range(layers))
    )
    local = ropes.get("sliding_attention") or {
        "rope_theta": config.get("rope_local_base_freq", _LOCAL_THETA)
    }
    if _rope_kind(local) != "default":
        raise UnsupportedError("the model scales positions of its sliding layers")
    scalar = _number(config, "query_pre_attn_scalar", head_dim)
    return {
        "embedding_scale": math.sqrt(_count(config, "hidden_size")),
        "attention_scale": 0.0 if scalar == head_dim else scalar**-0.5,
        "sliding_window": window,
        "sliding_layers": sliding if window else (),
        "local_rope_theta": _number(local, "rope_theta"),
    }


def _old_rope(config: Mapping[str, Any], theta: float) -> dict[str, Any]:
    """Before `rope_parameters` there were two fields."""
    scaling = config.get("rope_scaling") or {}
    return {**scaling, "rope_theta": _number(config, "rope_theta", theta)}


def _rope_kind(rope: Mapping[str, Any]) -> str:
    kind = str(rope.get("rope_type") or rope.get("type") or "default")
    if kind not in _ROPES:
        raise UnsupportedError(
            f"the model scales its positions by {kind!r}", f"known: {', '.join(_ROPES)}"
        )
    return kind


def _llama3(rope: Mapping[str, Any], head_dim: int) -> tuple[float, ...]:
    """Divisors of the frequencies: long waves by `factor`, short ones by 1, in between a blend."""
    theta, factor = _number(rope, "rope_theta"), _number(rope, "factor")
    low, high = _number(rope, "low_freq_factor"), _number(rope, "high_freq_factor")
    trained = _number(rope, "original_max_position_embeddings")
    if min(theta, factor, low, trained) <= 0 or high <= low:
        raise BundleError(f"config.json says impossible llama3 positions: {dict(rope)}")
    factors = []
    for i in range(head_dim // 2):
        turns = trained / (2 * math.pi * theta ** (2 * i / head_dim))  # within trained positions
        blend = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - blend) / factor + blend))
    return tuple(factors)


def _refuse_unknown_parts(config: Mapping[str, Any], name: str) -> None:
    stored = config.get("quantization_config")
    if stored:
        method = stored.get("quant_method", "unknown") if isinstance(stored, dict) else stored
        raise UnsupportedError(
            f"the weights are quantized already, by {method!r}",
            "give the model before it was quantized, or a GGUF of it",
        )
    for key, what in _UNKNOWN_PARTS:
        if config.get(key):
            raise UnsupportedError(f"the model {what} ({key}), which no target knows")
    known = _ACTIVATIONS.get(name, ("silu", "swish"))
    keys = ("activation_function", "hidden_activation", "hidden_act")
    found = next((config[key] for key in keys if config.get(key)), known[0])
    if found not in known:
        raise UnsupportedError(
            f"the model's activation is {found!r}", f"known for {name}: {', '.join(known)}"
        )


def _count(config: Mapping[str, Any], key: str, default: int = 0) -> int:
    value = config.get(key)
    value = default if value is None else value
    if type(value) is not int or value <= 0:
        raise BundleError(f"config.json says {key} is {config.get(key)!r}, expected a count")
    return value


def _number(config: Mapping[str, Any], key: str, default: float = 0.0) -> float:
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BundleError(f"config.json says {key} is {value!r}, expected a number")
    return float(value)
