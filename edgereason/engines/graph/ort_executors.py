"""Executors over ONNX Runtime: the graph bound to a pool of KV that stays where it is computed.

`Bound` runs kinds "ort" and "B", whose new KV is written in place; all its buffers are bound once
for each window. `Joined` runs kind "A", whose KV comes back longer, on the CPU: a twin for tests of
graphs that are made for TensorRT. The device part (CUDA) has run on no GPU yet.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgereason.engines.graph.exported import GraphInfo, Port, Sizes
from edgereason.engines.graph.kv import Executor, Run

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = NDArray[Any]

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}
_DTYPES |= {"tensor(int32)": "int32", "tensor(bool)": "bool"}
_GPU_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider")


def ports(nodes: list[Any]) -> dict[str, Port]:
    """What a session says of its inputs or outputs."""
    return {
        node.name: Port(
            _DTYPES.get(node.type, node.type),
            tuple(width if isinstance(width, int) else None for width in node.shape),
        )
        for node in nodes
    }


def make_executor(session: InferenceSession, info: GraphInfo, sizes: Sizes) -> Executor:
    if info.kind == "A":
        return Joined(session, info, sizes)
    on_gpu = session.get_providers()[0] in _GPU_PROVIDERS
    shape = (sizes.sequences, info.num_kv_heads, sizes.context, info.head_dim)
    memory: Memory = DeviceMemory(info, shape, "cuda") if on_gpu else HostMemory(info, shape)
    return Bound(session, info, sizes, memory)


class Buffers(Protocol):
    """What a pool of a graph holds."""

    @property
    def kv_names(self) -> tuple[str, ...]: ...
    @property
    def kv_dtype(self) -> np.dtype[Any]: ...


class Memory(Protocol):
    """The pool: one buffer [seats, kv_heads, capacity, head_dim] for each of `info.kv_names`.

    Attributes:
        device: as onnxruntime calls it.
        addresses: of each buffer, on that device.
        seat_bytes: of one buffer.
    """

    device: str
    addresses: list[int]
    seat_bytes: int

    def copy(self, source: int, target: int, length: int) -> None: ...
    def read(self, seat: int, length: int) -> bytes: ...
    def write(self, seat: int, length: int, data: bytes) -> None: ...


class HostMemory:
    """A pool in numpy arrays. Zeros, which the system hands out when they are first touched: what
    lies behind a seat's length must at least be finite."""

    device = "cpu"

    def __init__(self, info: Buffers, shape: tuple[int, int, int, int]) -> None:
        self.arrays = [np.zeros(shape, info.kv_dtype) for _ in info.kv_names]
        self.addresses = [array.ctypes.data for array in self.arrays]
        self.seat_bytes = math.prod(shape[1:]) * info.kv_dtype.itemsize

    def copy(self, source: int, target: int, length: int) -> None:
        for array in self.arrays:
            array[target, :, :length] = array[source, :, :length]

    def read(self, seat: int, length: int) -> bytes:
        return b"".join(array[seat, :, :length].tobytes() for array in self.arrays)

    def write(self, seat: int, length: int, data: bytes) -> None:
        _, heads, _, width = self.arrays[0].shape
        parts = np.frombuffer(data, self.arrays[0].dtype)
        for array, part in zip(self.arrays, np.split(parts, len(self.arrays)), strict=True):
            array[seat, :, :length] = part.reshape(heads, length, width)


class DeviceMemory:
    """A pool on a device. Bytes move by a graph of one Identity, which onnxruntime runs where they
    are: whole seats, whatever their length."""

    def __init__(self, info: GraphInfo, shape: tuple[int, int, int, int], device: str) -> None:
        from onnxruntime import InferenceSession, OrtValue

        self.device = device
        self._dtype = info.kv_dtype
        self._shape = shape
        self._values = [
            OrtValue.ortvalue_from_numpy(np.zeros(shape, info.kv_dtype), device, 0)
            for _ in info.kv_names
        ]
        self.addresses = [value.data_ptr() for value in self._values]
        self.seat_bytes = math.prod(shape[1:]) * info.kv_dtype.itemsize
        provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
        self._mover = InferenceSession(_identity(info.kv_dtype), providers=[provider])

    def copy(self, source: int, target: int, length: int) -> None:
        for address in self.addresses:
            self._move(
                (self.device, address + source * self.seat_bytes),
                (self.device, address + target * self.seat_bytes),
            )

    def read(self, seat: int, length: int) -> bytes:
        staged = np.empty(self._shape[1:], self._dtype)
        parts = []
        for address in self.addresses:
            there = (self.device, address + seat * self.seat_bytes)
            self._move(there, ("cpu", staged.ctypes.data))
            parts.append(staged[:, :length].tobytes())
        return b"".join(parts)

    def write(self, seat: int, length: int, data: bytes) -> None:
        _, heads, _, width = self._shape
        staged = np.zeros(self._shape[1:], self._dtype)
        parts = np.split(np.frombuffer(data, self._dtype), len(self.addresses))
        for address, part in zip(self.addresses, parts, strict=True):
            staged[:, :length] = part.reshape(heads, length, width)
            there = (self.device, address + seat * self.seat_bytes)
            self._move(("cpu", staged.ctypes.data), there)

    def _move(self, source: tuple[str, int], target: tuple[str, int]) -> None:
        """One seat of one buffer."""
        binding = self._mover.io_binding()
        shape = [math.prod(self._shape[1:])]
        binding.bind_input("x", source[0], 0, self._dtype, shape, source[1])
        binding.bind_output("y", target[0], 0, self._dtype, shape, target[1])
        binding.synchronize_inputs()
        self._mover.run_with_iobinding(binding)
        binding.synchronize_outputs()


class Bound:
    """Runs a graph that writes its KV in place."""

    def __init__(
        self, session: InferenceSession, info: GraphInfo, sizes: Sizes, memory: Memory
    ) -> None:
        self._session = session
        self._info = info
        self._memory = memory
        self._kv_shape = (info.num_kv_heads, sizes.context, info.head_dim)
        rows = max(sizes.batch, sizes.sequences)
        self._ids = np.zeros(rows, np.int64)
        self._past = np.zeros(sizes.sequences, np.int32)
        self._rows = np.zeros(sizes.sequences, np.int64)
        self._embeds = np.zeros((rows, info.num_embd), np.float32)
        self._nowhere = np.zeros(info.num_vocab, np.float32)  # logits that nobody wants
        self._bindings: dict[tuple[int, int], tuple[Any, tuple[int, ...] | None]] = {}

    def run(self, run: Run) -> None:
        batch, length = run.tokens.shape
        num_rows = run.tokens.size
        self._ids[:num_rows] = run.tokens.reshape(-1)
        self._past[:batch] = run.past
        self._rows[: len(run.rows) or 1] = run.rows if len(run.rows) else 0
        if run.embeddings is not None:
            self._embeds[:num_rows] = run.embeddings.reshape(num_rows, -1)
        binding = self._bind(run, batch, length)
        self._session.run_with_iobinding(binding)
        if self._memory.device != "cpu":
            binding.synchronize_outputs()

    def copy(self, source: int, target: int, length: int) -> None:
        self._memory.copy(source, target, length)

    def read(self, seat: int, length: int) -> bytes:
        return self._memory.read(seat, length)

    def write(self, seat: int, length: int, data: bytes) -> None:
        self._memory.write(seat, length, data)

    def _bind(self, run: Run, batch: int, length: int) -> Any:
        """The binding of the window: its KV is bound once, the rest where it has changed."""
        key = (run.first, batch)
        binding, bound = self._bindings.get(key) or (self._bind_window(run.first, batch), None)
        num_outputs = len(run.rows)
        logits, hidden = (run.logits, run.hidden) if num_outputs else (self._nowhere,) * 2
        places = (address_of(logits), address_of(hidden))
        wanted = (length, num_outputs, *places)
        if wanted == bound:
            return binding
        self._bindings[key] = (binding, wanted)
        num_rows = num_outputs or 1  # row 0, where nobody wants one
        embd, vocab = self._info.num_embd, self._info.num_vocab
        for name, array, shape in (
            ("input_ids", self._ids, (batch, length)),
            ("inputs_embeds", self._embeds, (batch, length, embd)),
            ("past_lengths", self._past, (batch,)),
            ("output_rows", self._rows, (num_rows,)),
        ):
            binding.bind_input(name, "cpu", 0, array.dtype.type, shape, address_of(array))
        for name, width, place in zip(
            ("logits", "hidden_states"), (vocab, embd), places, strict=True
        ):
            binding.bind_output(name, "cpu", 0, np.float32, (num_rows, width), place)
        return binding

    def _bind_window(self, first: int, batch: int) -> Any:
        binding = self._session.io_binding()
        memory = self._memory
        shape = (batch, *self._kv_shape)
        for name, address in zip(self._info.kv_names, memory.addresses, strict=True):
            place = (
                memory.device,
                0,
                self._info.kv_dtype,
                shape,
                address + first * memory.seat_bytes,
            )
            binding.bind_input(f"past_key_values.{name}", *place)
            binding.bind_output(f"present.{name}", *place)
        return binding


class Joined:
    """Runs a graph that gives past and new KV back as one."""

    def __init__(self, session: InferenceSession, info: GraphInfo, sizes: Sizes) -> None:
        shape = (sizes.sequences, info.num_kv_heads, sizes.context, info.head_dim)
        self._session = session
        self._info = info
        self._memory = HostMemory(info, shape)
        self.copy, self.read = self._memory.copy, self._memory.read
        self.write = self._memory.write

    def run(self, run: Run) -> None:
        batch, length = run.tokens.shape
        embeds = run.embeddings
        if embeds is None:
            embeds = np.zeros((batch, length, self._info.num_embd), np.float32)
        most = int(run.past.max())
        feeds: dict[str, Array] = {
            "input_ids": run.tokens,
            "inputs_embeds": embeds,
            "past_lengths": run.past.copy(),
            "output_rows": run.rows if len(run.rows) else np.zeros(1, np.int64),
        }
        window = slice(run.first, run.first + batch)
        for name, array in zip(self._info.kv_names, self._memory.arrays, strict=True):
            feeds[f"past_key_values.{name}"] = np.ascontiguousarray(array[window, :, :most])
        wanted = ["logits", "hidden_states", *(f"present.{name}" for name in self._info.kv_names)]
        logits, hidden, *present = self._session.run(wanted, feeds)
        run.logits[:], run.hidden[:] = logits[: len(run.rows)], hidden[: len(run.rows)]
        for array, new in zip(self._memory.arrays, present, strict=True):
            for i, past in enumerate(run.past.tolist()):
                array[run.first + i, :, past : past + length] = new[i, :, most : most + length]


def address_of(array: Array) -> int:
    """Where it lies in memory."""
    return int(array.__array_interface__["data"][0])  # a third of the time of array.ctypes.data


def _identity(dtype: np.dtype[np.generic]) -> bytes:
    """A model y = x of one dimension, as onnx.helper would write it; the package `onnx` is not
    needed to run models."""
    number = {"float32": 1, "float16": 10}[dtype.name]
    dimension = _field(1, _field(2, b"n"))
    tensor = _field(1, _field(1, number) + _field(2, dimension))
    node = _field(1, b"x") + _field(2, b"y") + _field(4, b"Identity")
    values = [_field(1, name) + _field(2, tensor) for name in (b"x", b"y")]
    graph = _field(1, node) + _field(2, b"move") + _field(11, values[0]) + _field(12, values[1])
    return _field(1, 8) + _field(8, _field(1, b"") + _field(2, 13)) + _field(7, graph)


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer: a number below 128, or bytes below 128."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value
