"""An executor for graphs of kind A and B over a pool of KV on a device.

B writes new KV where it belongs; A is given a copy of the past, and what it appends is copied back.
Which library runs the graph and where memory lies is told by a `Graph` and a `Device`: TensorRT and
CUDA, or in tests ONNX Runtime and the memory of the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgereason.engines.graph.exported import GraphInfo, Sizes
from edgereason.engines.graph.kv import Run

Tensors = dict[str, tuple[int, tuple[int, ...]]]
"""Name of an input or output -> where it lies on the device, and its shape in this run."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows of bytes begin, and how far apart they are; 0: side by side."""

    address: int
    pitch: int = 0
    on_host: bool = False


class Device(Protocol):
    """Memory, and a stream that does one thing after the other."""

    def enter(self) -> None: ...
    def allocate(self, num_bytes: int) -> int: ...
    def release(self, address: int) -> None: ...
    def copy(self, to: Place, of: Place, width: int, height: int = 1) -> None: ...
    def synchronize(self) -> None: ...


class Graph(Protocol):
    def run(self, tensors: Mapping[str, tuple[int, tuple[int, ...]]]) -> None:
        """Runs on the device's stream: reads inputs and writes outputs where they lie."""


class DeviceExecutor:
    """An `Executor`. The pool has, for each of `info.kv_names`, [sequences, kv_heads, context,
    head_dim]."""

    def __init__(self, graph: Graph, device: Device, info: GraphInfo, sizes: Sizes) -> None:
        self._graph, self._device, self._info = graph, device, info
        self._row = info.head_dim * info.kv_dtype.itemsize
        self._pitch = sizes.context * self._row  # from one head to the next
        self._seat_bytes = info.num_kv_heads * self._pitch
        device.enter()
        self._pool = [device.allocate(sizes.sequences * self._seat_bytes) for _ in info.kv_names]
        rows = max(sizes.batch, sizes.sequences)
        widths = {
            "input_ids": 8 * rows,
            "inputs_embeds": 4 * info.num_embd * rows,
            "past_lengths": 4 * sizes.sequences,
            "output_rows": 8 * sizes.sequences,
            "logits": 4 * info.num_vocab * sizes.sequences,
            "hidden_states": 4 * info.num_embd * sizes.sequences,
        }
        self._at = {name: device.allocate(width) for name, width in widths.items()}
        self._spare = {"past_key_values": (0, 0), "present": (0, 0)}  # address, bytes; kind A

    def run(self, run: Run) -> None:
        self._device.enter()
        batch, length = run.tokens.shape
        info = self._info
        # A graph has at least one output: where nobody wants one, that of row 0.
        rows = run.rows if len(run.rows) else np.zeros(1, np.int64)
        tensors: Tensors = {
            "input_ids": self._sent("input_ids", run.tokens),
            "past_lengths": self._sent("past_lengths", run.past),
            "output_rows": self._sent("output_rows", rows),
            "inputs_embeds": (self._at["inputs_embeds"], (batch, length, info.num_embd)),
            "logits": (self._at["logits"], (len(rows), info.num_vocab)),
            "hidden_states": (self._at["hidden_states"], (len(rows), info.num_embd)),
        }
        if run.embeddings is not None:
            self._sent("inputs_embeds", run.embeddings)
        past = max(1, int(run.past.max()))  # no library is asked to take a tensor without rows
        tensors |= self._in_place(run) if info.kind == "B" else self._appended(run, past)
        self._graph.run(tensors)
        if info.kind == "A":
            self._keep(run, past, tensors)
        for name, array in (("logits", run.logits), ("hidden_states", run.hidden)):
            if array is not None and len(run.rows):
                self._device.copy(_host(array), Place(self._at[name]), array.nbytes)
        self._device.synchronize()

    def copy(self, source: int, target: int, length: int) -> None:
        self._device.enter()
        for address in self._pool:
            of, to = (
                Place(address + seat * self._seat_bytes, self._pitch) for seat in (source, target)
            )
            self._device.copy(to, of, length * self._row, self._info.num_kv_heads)
        self._device.synchronize()

    def read(self, seat: int, length: int) -> bytes:
        data = np.empty((len(self._pool), self._info.num_kv_heads, length * self._row), np.uint8)
        self._device.enter()
        for address, part in zip(self._pool, data, strict=True):
            there = Place(address + seat * self._seat_bytes, self._pitch)
            self._device.copy(_host(part), there, length * self._row, self._info.num_kv_heads)
        self._device.synchronize()
        return data.tobytes()

    def write(self, seat: int, length: int, data: bytes) -> None:
        shape = (len(self._pool), self._info.num_kv_heads, length * self._row)
        parts = np.frombuffer(data, np.uint8).reshape(shape)
        self._device.enter()
        for address, part in zip(self._pool, parts, strict=True):
            there = Place(address + seat * self._seat_bytes, self._pitch)
            self._device.copy(there, _host(part), length * self._row, self._info.num_kv_heads)
        self._device.synchronize()

    # -- one run -----------------------------------------------------------------------------------

    def _sent(self, name: str, array: NDArray[Any]) -> tuple[int, tuple[int, ...]]:
        there = self._at[name]
        self._device.copy(Place(there), _host(array), array.nbytes)
        return there, array.shape

    def _in_place(self, run: Run) -> Tensors:
        """Kind B: past and present are the window's seats."""
        info, batch = self._info, len(run.tokens)
        shape = (batch, info.num_kv_heads, self._pitch // self._row, info.head_dim)
        return {
            f"{side}.{name}": (address + run.first * self._seat_bytes, shape)
            for side in ("past_key_values", "present")
            for name, address in zip(info.kv_names, self._pool, strict=True)
        }

    def _appended(self, run: Run, past: int) -> Tensors:
        """Kind A: a copy of the first `past` tokens of the window, and room for what comes back."""
        info, (batch, length) = self._info, run.tokens.shape
        heads = batch * info.num_kv_heads
        tensors: Tensors = {}
        for side, rows in (("past_key_values", past), ("present", past + length)):
            width = heads * rows * self._row
            base = self._room(side, width * len(self._pool))
            shape = (batch, info.num_kv_heads, rows, info.head_dim)
            for i, name in enumerate(info.kv_names):
                tensors[f"{side}.{name}"] = (base + i * width, shape)
        for name, address in zip(info.kv_names, self._pool, strict=True):
            to = Place(tensors[f"past_key_values.{name}"][0], past * self._row)
            of = Place(address + run.first * self._seat_bytes, self._pitch)
            self._device.copy(to, of, past * self._row, heads)
        return tensors

    def _keep(self, run: Run, past: int, tensors: Tensors) -> None:
        """Kind A: the new rows, which lie behind `past`, go behind each sequence's own."""
        batch, length = run.tokens.shape
        heads, total = self._info.num_kv_heads, (past + length) * self._row
        for name, address in zip(self._info.kv_names, self._pool, strict=True):
            base, _ = tensors[f"present.{name}"]
            for b in range(batch):
                of = Place(base + b * heads * total + past * self._row, total)
                begin = (run.first + b) * self._seat_bytes + int(run.past[b]) * self._row
                self._device.copy(
                    Place(address + begin, self._pitch), of, length * self._row, heads
                )

    def _room(self, side: str, num_bytes: int) -> int:
        """Scratch memory that grows with the longest past; nothing is under way when it does."""
        address, there = self._spare[side]
        if there < num_bytes:
            if address:
                self._device.release(address)
            self._spare[side] = (0, 0)
            there = num_bytes + num_bytes // 4
            address = self._device.allocate(there)
            self._spare[side] = (address, there)
        return address


def _host(array: NDArray[Any]) -> Place:
    assert array.flags.c_contiguous
    return Place(array.ctypes.data, on_host=True)
