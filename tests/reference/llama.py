"""A llama in numpy, one sequence from its start: what goes into each weight, slowly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

THETA = 10000.0


def inputs_of_weights(
    weights: Mapping[str, NDArray[np.float32]],
    tokens: Sequence[int],
    *,
    layers: int,
    heads: int,
    kv_heads: int,
    eps: float,
) -> dict[str, Array]:
    """Rows [num_tokens, num_columns] that each weight of a GGUF is multiplied by."""
    w = {name: weight.astype(np.float64) for name, weight in weights.items()}
    inputs: dict[str, Array] = {}

    def times(name: str, rows: Array) -> Array:
        inputs[name] = rows
        return rows @ w[name].T

    x = w["token_embd.weight"][list(tokens)]
    for i in range(layers):
        layer = f"blk.{i}."
        rows = _norm(x, w[layer + "attn_norm.weight"], eps)
        q, k, v = (times(f"{layer}attn_{part}.weight", rows) for part in "qkv")
        x = x + times(layer + "attn_output.weight", _attend(q, k, v, heads, kv_heads))
        rows = _norm(x, w[layer + "ffn_norm.weight"], eps)
        gate = times(layer + "ffn_gate.weight", rows)
        up = times(layer + "ffn_up.weight", rows)
        x = x + times(layer + "ffn_down.weight", gate / (1 + np.exp(-gate)) * up)
    times("token_embd.weight", _norm(x, w["output_norm.weight"], eps))
    return inputs


def _norm(x: Array, weight: Array, eps: float) -> Array:
    result: Array = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight
    return result


def _attend(q: Array, k: Array, v: Array, heads: int, kv_heads: int) -> Array:
    num = len(q)
    q, k = _rotate(q.reshape(num, heads, -1)), _rotate(k.reshape(num, kv_heads, -1))
    v = v.reshape(num, kv_heads, -1)
    out = np.empty_like(q)
    for head in range(heads):
        kv = head * kv_heads // heads
        scores = q[:, head] @ k[:, kv].T / np.sqrt(q.shape[-1])
        scores[np.triu_indices(num, 1)] = -np.inf
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, head] = scores / scores.sum(-1, keepdims=True) @ v[:, kv]
    return out.reshape(num, -1)


def _rotate(x: Array) -> Array:
    """RoPE on neighbouring pairs, the order of a llama's GGUF."""
    half = x.shape[-1] // 2
    angles = np.arange(len(x))[:, None] * THETA ** (-np.arange(half) / half)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    even, odd = x[..., 0::2], x[..., 1::2]
    return np.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)
