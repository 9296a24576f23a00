"""Graphs for TensorRT: two dialects of standard operators, with the type of each number.

    A  opset 19: new keys and values are appended to the past    TensorRT 10.3 and later
    B  opset 24: TensorScatter into a cache of fixed size, Attention    10.16 and later, RTX

Matrix products are in float16 (or bfloat16), between them all is float32: norms, rotation, masks
and sums, which half numbers would overflow. The cache is float16. Knows no builder.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import DTypeLike

from ..sources.base import Source
from ..weights.for_tensorrt import CODES, Weights
from .builder import Graph
from .dialect import Dialect
from .rope import rotates, slides, tables

Form = Literal["A", "B"]

_MASKED: Final = -1e30
_GELU: Final = ((2 / np.pi) ** 0.5, 0.044715)


class PrimitiveDialect(Dialect):
    """What both forms share. `weights` says how those of matrix products are stored."""

    opset: ClassVar[int]
    ir_version: ClassVar[int]

    def __init__(self, graph: Graph, source: Source, *, context: int, weights: Weights) -> None:
        super().__init__(graph, source, dtype=np.float32)
        self._context = context
        self._weights = weights
        half = weights.dtype != np.float32
        self.cache_dtype: np.dtype[Any] = np.dtype(np.float16 if half else np.float32)
        self._masks: dict[int, str] = {}  # window -> mask; 0: all
        self._rotations: dict[bool, tuple[str, str]] = {}  # of sliding layers or not

    def begin(self) -> None:
        self._places = self.positions()
        self._past = self.cast("past_lengths", np.int64, np.int32)

    # --- attention --------------------------------------------------------------------------------

    @property
    @abstractmethod
    def rows_in(self) -> int | str:
        """Tokens of a past tensor: a number, or the name of a dimension."""

    @property
    @abstractmethod
    def rows_out(self) -> int | str: ...

    @abstractmethod
    def _keep(self, past: str, new: str, present: str) -> None:
        """Writes the node that gives `present`: the past with the new rows."""

    @abstractmethod
    def _seen(self) -> tuple[str, str]:
        """Positions of the cache's rows, int64, and which of them are real, bool; both broadcast
        to [batch, 1, 1, rows]. The second is "" where a position says it all."""

    @abstractmethod
    def _attend(self, q: str, k: str, v: str, mask: str) -> str:
        """q [batch, heads, length, head_dim], k and v as present; the same shape as q."""

    def attention(self, layer: int, q: str, k: str, v: str) -> str:
        arch, node = self.arch, self.graph.node
        q, k, v = self._heads(q, arch.num_heads), self._heads(k), self._heads(v)
        local = slides(arch, layer)
        if rotates(arch, layer):
            q, k = self._rotated(q, local), self._rotated(k, local)
        k, v = (self._cached(f"{layer}.{part}", new) for part, new in (("key", k), ("value", v)))
        mask = self._mask(arch.sliding_window if local else 0)
        x = self._attend(self.cast(q, self.cache_dtype), k, v, mask)
        x = node("Transpose", self.cast(x, np.float32, self.cache_dtype), perm=[0, 2, 1, 3])
        joined = self.graph.constant([0, 0, arch.num_heads * arch.head_dim], np.int64)
        return node("Reshape", x, joined)

    @property
    def scale(self) -> float:
        return self.arch.attention_scale or float(self.arch.head_dim**-0.5)

    def _heads(self, x: str, num: int = 0) -> str:
        split = [0, 0, num or self.arch.num_kv_heads, self.arch.head_dim]
        x = self.graph.node("Reshape", x, self.graph.constant(split, np.int64))
        return self.graph.node("Transpose", x, perm=[0, 2, 1, 3])

    def _cached(self, name: str, new: str) -> str:
        arch, graph = self.arch, self.graph
        past, present = f"past_key_values.{name}", f"present.{name}"
        shape = ("batch", arch.num_kv_heads, self.rows_in, arch.head_dim)
        graph.input(past, self.cache_dtype, shape)
        self._keep(past, self.cast(new, self.cache_dtype), present)
        after = ("batch", arch.num_kv_heads, self.rows_out, arch.head_dim)
        graph.output(present, present, self.cache_dtype, after)
        return present

    def _rotated(self, x: str, local: bool) -> str:
        """Half-split rotation of x [batch, heads, length, head_dim]."""
        node, constant = self.graph.node, self.graph.constant
        cos, sin = self._rotation(local)
        half, last = self.arch.head_dim // 2, constant([-1], np.int64)
        a = node("Slice", x, constant([0], np.int64), constant([half], np.int64), last)
        b = node("Slice", x, constant([half], np.int64), constant([2 * half], np.int64), last)
        left = node("Sub", node("Mul", a, cos), node("Mul", b, sin))
        right = node("Add", node("Mul", b, cos), node("Mul", a, sin))
        return node("Concat", left, right, axis=-1)

    def _rotation(self, local: bool) -> tuple[str, str]:
        """Cosines and sines of this run's positions, [batch, 1, length, head_dim / 2]."""
        if local not in self._rotations:
            where = self.graph.constant([1], np.int64)
            cos, sin = (
                self.graph.node(
                    "Unsqueeze",
                    self.graph.node(
                        "Gather",
                        self.graph.weight(f"rope.{'local.' if local else ''}{part}", table),
                        self._places,
                        axis=0,
                    ),
                    where,
                )
                for part, table in zip(
                    ("cos", "sin"),
                    tables(self.arch, local=local, context=self._context),
                    strict=True,
                )
            )
            self._rotations[local] = cos, sin
        return self._rotations[local]

    def _mask(self, window: int) -> str:
        """Which rows of the cache each token sees, bool [batch, 1, length, rows]."""
        if window not in self._masks:
            node, constant = self.graph.node, self.graph.constant
            rows, real = self._seen()
            asks = node("Unsqueeze", self._places, constant([1, 3], np.int64))
            mask = node("GreaterOrEqual", asks, rows)
            if real:
                mask = node("And", mask, real)
            if window:
                near = node("Less", node("Sub", asks, rows), constant(window, np.int64))
                mask = node("And", mask, near)
            self._masks[window] = mask
        return self._masks[window]

    def _range(self, num: str) -> str:
        zero, one = self.graph.constant(0, np.int64), self.graph.constant(1, np.int64)
        return self.graph.node("Range", zero, num, one)

    # --- weights ----------------------------------------------------------------------------------

    def linear(self, x: str, name: str) -> str:
        y = self._product(x, f"{name}.weight", self._weights.format)
        if self.has(f"{name}.bias"):
            y = self.graph.node("Add", y, self.vector(f"{name}.bias"))
        return y

    def embedding(self, ids: str) -> str:
        name = "token_embd.weight"
        weight = self._weights.cast(name, self.tensor(name))
        rows = self.graph.node("Gather", self.graph.weight(name, weight), ids)
        return self.cast(rows, np.float32, self._weights.dtype)

    def head(self, x: str) -> str:
        if not self.arch.tied:
            return self._product(x, "output.weight", self._weights.head_format)
        weight = "token_embd.weight"
        if self._weights.quantizes:
            return self._product(x, weight, self._weights.head_format, f"{weight}.head")
        y = self.graph.node("Gemm", self.cast(x, self._weights.dtype), weight, transB=1)
        return self.cast(y, np.float32, self._weights.dtype)

    def _product(self, x: str, name: str, how: str, stored: str = "") -> str:
        """x [..., in] by the tensor `name` [out, in], float32 outside."""
        graph, weights = self.graph, self._weights
        x = self.cast(x, weights.dtype)
        if reach := weights.reach(name, how):
            x = self._rounded(x, reach, CODES[how])
        array = self.tensor(name)
        parts = weights.store(name, array, how)
        stored = stored or name
        value = graph.weight(stored, parts.codes)
        if parts.scales is not None:
            scales = graph.weight(f"{stored}.scales", parts.scales)
            value = graph.node("DequantizeLinear", value, scales, **parts.attributes)
        return self.cast(graph.node("MatMul", x, value), np.float32, weights.dtype)

    def _rounded(self, x: str, reach: float, codes: DTypeLike) -> str:
        """Activations through the codes of the weights; `reach` is the largest of them."""
        most = 127.0 if np.dtype(codes) == np.int8 else 448.0
        scale = self.graph.constant(max(reach / most, 1e-7), self._weights.dtype)
        zero = self.graph.constant(0, codes)
        coded = self.graph.node("QuantizeLinear", x, scale, zero)
        return self.graph.node("DequantizeLinear", coded, scale, zero)

    # --- what other dialects write in one operator ------------------------------------------------

    def gelu(self, x: str) -> str:
        """The tanh form by hand: `Gelu` is newer than the opset of form A."""
        node, constant = self.graph.node, self.graph.constant
        factor, cubic = (constant(each, np.float32) for each in _GELU)
        cube = node("Mul", node("Mul", x, x), x)
        inner = node("Mul", factor, node("Add", x, node("Mul", cubic, cube)))
        grown = node("Add", constant(1, np.float32), node("Tanh", inner))
        return node("Mul", node("Mul", constant(0.5, np.float32), x), grown)


class Appending(PrimitiveDialect):
    """Form A. The past has as many rows as the longest sequence of the run; those at or beyond a
    sequence's own length are masked."""

    kind = "A"
    opset = 19
    ir_version = 9
    rows_in = "past"
    rows_out = "total"

    def _keep(self, past: str, new: str, present: str) -> None:
        self.graph.nodes(1, "Concat", past, new, outputs=(present,), axis=2)

    def begin(self) -> None:
        super().begin()
        node, constant = self.graph.node, self.graph.constant
        where = constant([0], np.int64)
        self._length = self.length()
        arch = self.arch
        # Shapes that the scores take on their way; the keys' heads are not repeated for queries.
        batch = node("Shape", "input_ids", start=0, end=1)
        groups = arch.num_heads // arch.num_kv_heads
        split = constant([arch.num_kv_heads, groups], np.int64)
        rest = constant([-1], np.int64)
        self._by_group = node("Concat", batch, split, self._length, rest, axis=0)
        rows = node("Mul", self._length, constant([groups], np.int64))
        heads = constant([arch.num_kv_heads], np.int64)
        self._by_head = node("Concat", batch, heads, rows, rest, axis=0)
        self._whole = node(
            "Concat",
            batch,
            constant([arch.num_heads], np.int64),
            self._length,
            constant([arch.head_dim], np.int64),
            axis=0,
        )
        self._scalar_length = node("Squeeze", self._length, where)

    def _seen(self) -> tuple[str, str]:
        node, constant = self.graph.node, self.graph.constant
        shape = node("Shape", "past_key_values.0.key", start=2, end=3)
        rows = node("Squeeze", shape, constant([0], np.int64))
        index = self._range(node("Add", rows, self._scalar_length))
        old = node("Less", index, rows)
        past = node("Unsqueeze", self._past, constant([1], np.int64))
        new = node("Add", past, node("Sub", index, rows))
        inner = constant([1, 2], np.int64)
        places = node("Unsqueeze", node("Where", old, index, new), inner)
        real = node("Or", node("Not", old), node("Less", index, past))
        return places, node("Unsqueeze", real, inner)

    def _attend(self, q: str, k: str, v: str, mask: str) -> str:
        node, constant, dtype = self.graph.node, self.graph.constant, self.cache_dtype
        q = node("Mul", q, constant(self.scale, dtype))
        by_head = [0, self.arch.num_kv_heads, -1, self.arch.head_dim]
        q = node("Reshape", q, constant(by_head, np.int64))
        scores = node("MatMul", q, node("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.cast(node("Reshape", scores, self._by_group), np.float32, dtype)
        mask = node("Unsqueeze", mask, constant([1], np.int64))
        scores = node("Where", mask, scores, constant(_MASKED, np.float32))
        shares = self.cast(node("Softmax", scores, axis=-1), dtype)
        x = node("MatMul", node("Reshape", shares, self._by_head), v)
        return node("Reshape", x, self._whole)


class Scattering(PrimitiveDialect):
    """Form B. The cache has `context` rows, which TensorRT wants to know when it builds; past and
    present are one buffer."""

    kind = "B"
    opset = 24
    ir_version = 11

    @property
    def rows_in(self) -> int:
        return self._context

    @property
    def rows_out(self) -> int:
        return self._context

    def _keep(self, past: str, new: str, present: str) -> None:
        self.graph.nodes(1, "TensorScatter", past, new, self._past, outputs=(present,), axis=2)

    def _seen(self) -> tuple[str, str]:
        return self.graph.constant(np.arange(self._context), np.int64), ""

    def _attend(self, q: str, k: str, v: str, mask: str) -> str:
        return self.graph.node("Attention", q, k, v, mask, scale=self.scale)


DIALECTS: Final[dict[str, type[PrimitiveDialect]]] = {"A": Appending, "B": Scattering}


def opset_of(form: Form, weights: Weights) -> tuple[int, int]:
    """Opset and IR version: form A with INT4 needs what has INT4."""
    dialect = DIALECTS[form]
    if form == "A" and weights.format == "int4":
        return 21, 10
    return dialect.opset, dialect.ir_version
