"""A decoder as a graph: inputs, layers, head. What a model has is told by its tensors.

    token or embedding -> [norm -> attention -> + -> norm -> feed forward -> +]... -> norm -> head

Adding an architecture: its name in `ARCHITECTURES` of `sources/base.py`, its activation here, and a
few lines for a part that no other has. Knows no runtime: a `Dialect` writes the parts.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edgereason.errors import UnsupportedError

from .dialect import Dialect

FORMAT: Final = "1"

_GELU: Final = frozenset({"gemma3", "gpt2"})  # the others have SiLU


def write_decoder(dialect: Dialect, context: int) -> None:
    """Writes all of the graph that `docs/onnx.md` describes, and saves it."""
    graph, arch = dialect.graph, dialect.arch
    ids = graph.input("input_ids", np.int64, ("batch", "length"))
    embeds = graph.input("inputs_embeds", np.float32, ("batch", "length", arch.num_embd))
    graph.input("past_lengths", np.int32, ("batch",))
    wanted = graph.input("output_rows", np.int64, ("num_outputs",))
    dialect.begin()
    residual = _embedded(dialect, ids, embeds)
    x = dialect.norm(residual, "blk.0.attn_norm")
    for layer in range(arch.num_layers):
        prefix = f"blk.{layer}"
        x = _attention(dialect, layer, x)
        if layer == arch.num_layers - 1:  # what nobody asked for stops at the last attention
            x, residual = dialect.rows(x, wanted), dialect.rows(residual, wanted)
        residual, x = dialect.add_norm(x, residual, f"{prefix}.ffn_norm")
        x = _feed_forward(dialect, prefix, x)
        last = layer == arch.num_layers - 1
        after = "output_norm" if last else f"blk.{layer + 1}.attn_norm"
        residual, x = dialect.add_norm(x, residual, after)
    _outputs(dialect, x)
    if unused := dialect.unused():
        raise UnsupportedError(
            f"no part of the graph uses {unused[0]}, of {len(unused)} such tensors",
            f"is this a plain {arch.name}?",
        )
    graph.save(
        {
            "edgereason.format": FORMAT,
            "edgereason.kind": dialect.kind,
            "edgereason.context": str(context),
            "edgereason.architecture": arch.name,
        }
    )


def _embedded(dialect: Dialect, ids: str, embeds: str) -> str:
    """The token's row where there is a token, else the row that was given."""
    graph, arch = dialect.graph, dialect.arch
    zero = graph.constant(0, np.int64)
    x = dialect.embedding(graph.node("Max", ids, zero))
    if arch.embedding_scale != 1.0:
        x = graph.node("Mul", x, graph.constant(arch.embedding_scale, dialect.dtype))
    is_token = graph.node(
        "Unsqueeze", graph.node("GreaterOrEqual", ids, zero), graph.constant([-1], np.int64)
    )
    given = dialect.cast(embeds, dialect.dtype, np.float32)
    x = graph.node("Where", is_token, x, given)
    if not dialect.has("position_embd.weight"):
        return x
    places = graph.node("Gather", dialect.vector("position_embd.weight"), dialect.positions())
    return graph.node("Add", x, places)


def _attention(dialect: Dialect, layer: int, x: str) -> str:
    arch, prefix = dialect.arch, f"blk.{layer}"
    q, k, v = dialect.projections(x, prefix)
    if dialect.has(f"{prefix}.attn_q_norm.weight"):
        q = dialect.head_norm(q, f"{prefix}.attn_q_norm", arch.num_heads)
        k = dialect.head_norm(k, f"{prefix}.attn_k_norm", arch.num_kv_heads)
    x = dialect.linear(dialect.attention(layer, q, k, v), f"{prefix}.attn_output")
    return _post_norm(dialect, x, f"{prefix}.post_attention_norm")


def _feed_forward(dialect: Dialect, prefix: str, x: str) -> str:
    act = dialect.gelu if dialect.arch.name in _GELU else dialect.silu
    up = dialect.linear(x, f"{prefix}.ffn_up")
    if dialect.has(f"{prefix}.ffn_gate.weight"):
        up = dialect.graph.node("Mul", act(dialect.linear(x, f"{prefix}.ffn_gate")), up)
    else:
        up = act(up)
    return _post_norm(dialect, dialect.linear(up, f"{prefix}.ffn_down"), f"{prefix}.post_ffw_norm")


def _post_norm(dialect: Dialect, x: str, name: str) -> str:
    return dialect.norm(x, name) if dialect.has(f"{name}.weight") else x


def _outputs(dialect: Dialect, x: str) -> None:
    graph, arch = dialect.graph, dialect.arch
    for value, name, width in (
        (dialect.head(x), "logits", arch.num_vocab),
        (x, "hidden_states", arch.num_embd),
    ):
        wide = dialect.cast(value, np.float32)
        graph.output(wide, name, np.float32, ("num_outputs", width))
