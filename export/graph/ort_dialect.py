"""Graphs for ONNX Runtime's own providers: the dialect of its contrib operators.

Attention keeps the cache in place (past and present are one buffer); weights of 4 or 8 bits are
multiplied as they are stored. Token embeddings that are also the head are stored once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..sources.base import Source
from ..weights.blocks import Blocks, joined, packed
from .builder import Graph
from .dialect import Dialect
from .rope import rotates, slides, tables

OPSET: Final = 23  # the first with RMSNormalization; onnxruntime 1.23 knows it
_CONTRIB: Final = "com.microsoft"
_INT8_ACTIVATIONS: Final = 4  # "accuracy_level": products in integers, sums in float32

Quantize = Callable[[str, NDArray[np.float32]], Blocks | None]


class OrtDialect(Dialect):
    """Contrib operators, float32 activations and cache.

    `quantize` turns a linear weight or the token embeddings into blocks, or leaves it as it is
    (None); q, k and v of a layer in the same way.
    """

    kind = "ort"

    def __init__(self, graph: Graph, source: Source, *, context: int, quantize: Quantize) -> None:
        super().__init__(graph, source)
        self._context = context
        self._quantize = quantize
        self._blocks: dict[str, dict[str, int]] = {}  # weights stored in blocks -> node attributes

    def begin(self) -> None:
        node, constant = self.graph.node, self.graph.constant
        length = self.cast(self.length(), np.int32, np.int64)
        total = node("Add", "past_lengths", length)
        self._last = node("Sub", total, constant(1, np.int32))
        self._most = node("ReduceMax", total, keepdims=0)

    # --- attention --------------------------------------------------------------------------------

    def projections(self, x: str, prefix: str) -> tuple[str, str, str]:
        """All three in one product, which attention takes as it is."""
        packed = f"{prefix}.attn_qkv"
        if self.has(f"{packed}.weight"):
            return self.linear(x, packed), "", ""
        if self.has(f"{prefix}.attn_q_norm.weight"):
            return super().projections(x, prefix)
        return self.linear(x, packed, [f"{prefix}.attn_{part}" for part in "qkv"]), "", ""

    def attention(self, layer: int, q: str, k: str, v: str) -> str:
        arch = self.arch
        shape = ("batch", arch.num_kv_heads, "capacity", arch.head_dim)
        past = [
            self.graph.input(f"past_key_values.{layer}.{part}", np.float32, shape)
            for part in ("key", "value")
        ]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        options: dict[str, float] = {}
        if arch.attention_scale:
            options["scale"] = arch.attention_scale
        if slides(arch, layer):
            options["local_window_size"] = arch.sliding_window
        rope = self._rope(slides(arch, layer)) if rotates(arch, layer) else ()
        x = self.graph.nodes(
            3,
            "GroupQueryAttention",
            *(q, k, v, *past, self._last, self._most, *rope),
            outputs=("", *present),
            domain=_CONTRIB,
            num_heads=arch.num_heads,
            kv_num_heads=arch.num_kv_heads,
            do_rotary=int(bool(rope)),
            **options,
        )[0]
        for name in present:
            self.graph.output(name, name, np.float32, shape)
        return x

    def _rope(self, local: bool) -> tuple[str, str]:
        names = [f"rope.{'local.' if local else ''}{part}" for part in ("cos", "sin")]
        if names[0] not in self.graph:
            both = tables(self.arch, local=local, context=self._context)
            for name, table in zip(names, both, strict=True):
                self.graph.weight(name, table)
        return names[0], names[1]

    # --- weights ----------------------------------------------------------------------------------

    def linear(self, x: str, name: str, parts: Sequence[str] = ()) -> str:
        """`parts`: weights and biases that become one, row by row."""
        parts = parts or (name,)
        weight, bias = f"{name}.weight", ""
        self._store(weight, [f"{part}.weight" for part in parts], transposed=True)
        if self.has(f"{parts[0]}.bias"):
            biases = np.concatenate([self.tensor(f"{part}.bias") for part in parts])
            bias = self.graph.weight(f"{name}.bias", biases)
        if weight in self._blocks:
            return self._by_blocks(x, weight, bias)
        y = self.graph.node("MatMul", x, weight)
        return self.graph.node("Add", y, bias) if bias else y

    def embedding(self, ids: str) -> str:
        weight = "token_embd.weight"
        self._store(weight, [weight])
        if weight not in self._blocks:
            return self.graph.node("Gather", weight, ids)
        bits, block = self._blocks[weight]["bits"], self._blocks[weight]["block_size"]
        flat = (self.arch.num_vocab, self.arch.num_embd * bits // 8)
        return self.graph.node(
            "GatherBlockQuantized",
            self.graph.alias(f"{weight}.rows", weight, flat),
            ids,
            *self._scales(weight),
            domain=_CONTRIB,
            bits=bits,
            block_size=block,
            gather_axis=0,
            quantize_axis=1,
        )

    def head(self, x: str) -> str:
        if not self.arch.tied:
            return self.linear(x, "output")
        weight = "token_embd.weight"
        if weight in self._blocks:
            return self._by_blocks(x, weight, "")
        return self.graph.node("Gemm", x, weight, transB=1)

    def _store(self, name: str, parts: Sequence[str], *, transposed: bool = False) -> None:
        """Writes weights [out, in] under one name, in blocks where they are quantized."""
        arrays = [self.tensor(part) for part in parts]
        found = [self._quantize(part, array) for part, array in zip(parts, arrays, strict=True)]
        blocks = [each for each in found if each is not None]
        if not blocks:
            array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            self.graph.weight(name, array.T if transposed else array)
            return
        both = joined(blocks)
        self.graph.weight(name, packed(both.codes, both.bits))
        self.graph.weight(f"{name}.scales", both.scales)
        if both.zeros is not None:
            self.graph.weight(f"{name}.zeros", packed(both.zeros, both.bits))
        num_out, num_blocks, block = both.codes.shape
        self._blocks[name] = {
            "bits": both.bits,
            "block_size": block,
            "N": num_out,
            "K": num_blocks * block,
        }

    def _scales(self, weight: str) -> tuple[str, ...]:
        zeros = f"{weight}.zeros"
        return (f"{weight}.scales", *([zeros] if zeros in self.graph else []))

    def _by_blocks(self, x: str, weight: str, bias: str) -> str:
        inputs = [x, weight, *self._scales(weight)]
        if bias:
            inputs += [""] * (5 - len(inputs)) + [bias]
        return self.graph.node(
            "MatMulNBits",
            *inputs,
            domain=_CONTRIB,
            accuracy_level=_INT8_ACTIVATIONS,
            **self._blocks[weight],
        )

    # --- norms ------------------------------------------------------------------------------------

    def rms_norm(self, x: str, weight: str) -> str:
        return self.graph.node("RMSNormalization", x, weight, axis=-1, epsilon=self.arch.norm_eps)

    def add_norm(self, x: str, residual: str, name: str) -> tuple[str, str]:
        with_bias = self.has(f"{name}.bias")
        op = "SkipLayerNormalization" if with_bias else "SkipSimplifiedLayerNormalization"
        inputs = [x, residual, self.vector(f"{name}.weight")]
        if with_bias:
            inputs.append(self.vector(f"{name}.bias"))
        normed, _, _, total = self.graph.nodes(
            4, op, *inputs, domain=_CONTRIB, epsilon=self.arch.norm_eps
        )
        return total, normed
