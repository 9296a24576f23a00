"""How a runtime wants a decoder to be written: each part of a layer is one method.

A dialect has attention and weights of its own; what all runtimes take in the same way is here, in
operators of opset 17 to 20. Values are names in a `Graph`. Knows no architecture: what a layer has
is told by the tensors of its source.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..sources.base import Source
from .builder import Graph


class Dialect(ABC):
    """Writes parts of a decoder into a graph.

    Attributes:
        kind: what an engine must do with the cache; see docs/onnx.md.
        dtype: what the graph computes in.
    """

    kind: ClassVar[str]

    def __init__(self, graph: Graph, source: Source, *, dtype: DTypeLike = np.float32) -> None:
        self.graph = graph
        self.source = source
        self.arch = source.architecture
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._names = frozenset(source.names())
        self._used: set[str] = set()

    # --- tensors ----------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        return name in self._names

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Reads a tensor of the source."""
        self._used.add(name)
        return self.source.tensor(name)

    def vector(self, name: str) -> str:
        """A bias, a norm's weight, a table, as it is."""
        if name not in self.graph:
            self.graph.weight(name, self.tensor(name).astype(self.dtype))
        return name

    def unused(self) -> list[str]:
        """Tensors of the source that no part has asked for: the graph would not be the model."""
        return sorted(self._names - self._used)

    # --- what every dialect has of its own --------------------------------------------------------

    @abstractmethod
    def begin(self) -> None:
        """Once, after the inputs are declared and before all layers: what these share."""

    @abstractmethod
    def attention(self, layer: int, q: str, k: str, v: str) -> str:
        """Rotates q [batch, length, heads * head_dim] and k, adds k and v to the cache, attends.
        Declares `past_key_values.{layer}.*` and `present.{layer}.*`."""

    @abstractmethod
    def linear(self, x: str, name: str) -> str:
        """x [..., in] by `name.weight` [out, in], plus `name.bias` where there is one."""

    @abstractmethod
    def embedding(self, ids: str) -> str:
        """Rows of `token_embd.weight`."""

    @abstractmethod
    def head(self, x: str) -> str:
        """Logits: by `output.weight`, or by `token_embd.weight` where they are tied."""

    # --- what most write in the same way ----------------------------------------------------------

    def length(self) -> str:
        """Tokens of each sequence in this run, int64 [1]."""
        return self.graph.node("Shape", "input_ids", start=1, end=2)

    def positions(self) -> str:
        """Of each token in its sequence, int64 [batch, length]."""
        node, constant = self.graph.node, self.graph.constant
        past = node("Unsqueeze", "past_lengths", constant([1], np.int64))
        length = node("Squeeze", self.length(), constant([0], np.int64))
        new = node("Range", constant(0, np.int64), length, constant(1, np.int64))
        return node("Add", self.cast(past, np.int64, np.int32), new)

    def projections(self, x: str, prefix: str) -> tuple[str, str, str]:
        """q, k and v. Where the heads have no norms, a dialect may give what only its own
        `attention` understands."""
        if not self.has(f"{prefix}.attn_qkv.weight"):
            q, k, v = (self.linear(x, f"{prefix}.attn_{part}") for part in "qkv")
            return q, k, v
        arch = self.arch
        widths = [head * arch.head_dim for head in (arch.num_heads, *[arch.num_kv_heads] * 2)]
        packed = self.linear(x, f"{prefix}.attn_qkv")
        parts = self.graph.constant(widths, np.int64)
        q, k, v = self.graph.nodes(3, "Split", packed, parts, axis=-1)
        return q, k, v

    def norm(self, x: str, name: str, *, width: int = 0) -> str:
        """Over the last axis: RMS, or with mean and bias where the model has `name.bias`."""
        weight = self.vector(f"{name}.weight")
        if self.has(f"{name}.bias"):
            return self.graph.node(
                "LayerNormalization",
                x,
                weight,
                self.vector(f"{name}.bias"),
                axis=-1,
                epsilon=self.arch.norm_eps,
            )
        return self.rms_norm(x, weight)

    def rms_norm(self, x: str, weight: str) -> str:
        """In float32 whatever the graph computes in: squares of float16 overflow."""
        node = self.graph.node
        wide = self.cast(x, np.float32)
        mean = node(
            "ReduceMean",
            node("Mul", wide, wide),
            self.graph.constant([-1], np.int64),
            keepdims=1,
        )
        eps = self.graph.constant(self.arch.norm_eps, np.float32)
        scaled = node("Div", wide, node("Sqrt", node("Add", mean, eps)))
        return node("Mul", self.cast(scaled, self.dtype, np.float32), weight)

    def add_norm(self, x: str, residual: str, name: str) -> tuple[str, str]:
        """The sum, and its norm."""
        total = self.graph.node("Add", residual, x)
        return total, self.norm(total, name)

    def head_norm(self, x: str, name: str, num_heads: int) -> str:
        """Norm of each head in x [batch, length, heads * head_dim]."""
        node, dim = self.graph.node, self.arch.head_dim
        split = node("Reshape", x, self.graph.constant([0, 0, num_heads, dim], np.int64))
        joined = self.graph.constant([0, 0, num_heads * dim], np.int64)
        return node("Reshape", self.norm(split, name), joined)

    def silu(self, x: str) -> str:
        return self.graph.node("Mul", x, self.graph.node("Sigmoid", x))

    def gelu(self, x: str) -> str:
        """The tanh form. Needs opset 20."""
        return self.graph.node("Gelu", x, approximate="tanh")

    def cast(self, x: str, to: DTypeLike, of: DTypeLike | None = None) -> str:
        """No node where the type is right. `of` is the graph's where it is not given."""
        from onnx import helper

        if np.dtype(to) == (self.dtype if of is None else np.dtype(of)):
            return x
        return self.graph.node("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(to)))

    def rows(self, x: str, indices: str) -> str:
        """[batch, length, width] -> the rows asked for, [num, width]."""
        flat = self.graph.constant([-1, self.arch.num_embd], np.int64)
        return self.graph.node("Gather", self.graph.node("Reshape", x, flat), indices, axis=0)
