"""Graphs of other tools whose attention is GroupQueryAttention: KV is written where it lies.

That operator takes a cache longer than its text, and each row's length from `attention_mask`, so
that sequences run side by side and nothing is copied. Whether a graph really means it so is found
out by `agrees`, against `Alone`, which asks nothing of a graph. CPU only.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.engines.graph.exported import Sizes
from edgereason.engines.graph.foreign import Alone, ForeignGraph, cuts, most_rows
from edgereason.engines.graph.kv import Floats, Run
from edgereason.engines.graph.ort_executors import HostMemory, address_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_OPERATOR: Final = b"GroupQueryAttention"
_OTHERS: Final = (b"MultiHeadAttention", b"DecoderMaskedMultiHeadAttention", b"use_cache_branch")
TRIED: Final = 8
"""Tokens that `agrees` reads."""
_CLOSE: Final = 0.02  # of the spread of logits


def may_write_in_place(path: Path, graph: ForeignGraph, sizes: Sizes) -> bool:
    """What the graph's file says, by the names of its operators; and whether there is room to
    try."""
    if len(set(graph.kv.values())) > 1 or "attention_mask" not in graph.inputs:
        return False
    if sizes.context < TRIED:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(_OPERATOR) >= 0 and all(data.find(name) < 0 for name in _OTHERS)


class InPlace:
    """Runs neighbouring seats of one pool at once, or one seat with many tokens."""

    def __init__(self, session: InferenceSession, graph: ForeignGraph, sizes: Sizes) -> None:
        ((heads, width),) = set(graph.kv.values())
        self._session = session
        self._graph = graph
        self._seat_shape = (heads, sizes.context, width)
        self._memory = HostMemory(graph, (sizes.sequences, *self._seat_shape))
        self._most_rows = most_rows(graph)
        self._windows: dict[tuple[int, int], _Window] = {}
        self.copy, self.read = self._memory.copy, self._memory.read
        self.write = self._memory.write

    def run(self, run: Run) -> None:
        batch, num = run.tokens.shape
        if batch > 1:
            self._side_by_side(run)
            return
        past = int(run.past[0])
        if num == 1:
            logits = run.logits if len(run.rows) else None
            self.step(run.first, past, int(run.tokens[0, 0]), logits)
            return
        place_of = {row: place for place, row in enumerate(run.rows.tolist())}
        start = 0
        for end in cuts(num, place_of, self._most_rows):
            logits = self._piece(run.first, past + start, run.tokens[:, start:end])
            if end - 1 in place_of:
                run.logits[place_of[end - 1]] = logits
            start = end

    def step(self, seat: int, past: int, token: int, logits: Floats | None) -> None:
        """One token of one seat; see `StepOfOne`."""
        window = self._window(seat, 1)
        window.ids[0, 0], window.positions[0, 0] = token, past
        window.bind_mask(past + 1)
        direct = logits is not None and window.logits.dtype == logits.dtype
        window.bind_logits(logits if logits is not None and direct else window.logits)
        self._session.run_with_iobinding(window.binding)
        if logits is not None and not direct:
            logits[:] = window.logits

    def _side_by_side(self, run: Run) -> None:
        """A token of each seat."""
        window = self._window(run.first, len(run.past))
        window.ids[:], window.positions[:, 0] = run.tokens, run.past
        window.bind_mask(int(run.past.max()) + 1, run.past)
        window.bind_logits(window.logits)
        self._session.run_with_iobinding(window.binding)
        run.logits[:] = window.logits[run.rows]

    def _window(self, first: int, batch: int) -> _Window:
        window = self._windows.get((first, batch))
        if window is None:
            binding, capacity = self._bind(first, batch), self._seat_shape[1]
            window = self._windows[first, batch] = _Window(binding, self._graph, batch, capacity)
        return window

    def _piece(self, seat: int, past: int, tokens: NDArray[np.int64]) -> NDArray[Any]:
        """Several tokens of one seat; the logits of the last."""
        num = tokens.shape[1]
        values = {
            "input_ids": tokens,
            "attention_mask": np.ones((1, past + num)),
            "position_ids": np.arange(past, past + num)[None],
        }
        binding = self._bind(seat, 1)
        for name, dtype in self._graph.inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values[name], dtype))
        binding.bind_output("logits", "cpu")
        self._session.run_with_iobinding(binding)
        last: NDArray[Any] = binding.get_outputs()[-1].numpy()[0, -1]
        return last

    def _bind(self, first: int, batch: int) -> Any:
        """The KV of a window, which stays where it is."""
        binding, memory = self._session.io_binding(), self._memory
        shape = (batch, *self._seat_shape)
        for name, address in zip(self._graph.kv_names, memory.addresses, strict=True):
            place = ("cpu", 0, self._graph.kv_dtype, shape, address + first * memory.seat_bytes)
            binding.bind_input(f"past_key_values.{name}", *place)
            binding.bind_output(f"present.{name}", *place)
        return binding


class _Window:
    """Neighbouring seats that get a token each: what is bound once, and what changes.

    Attributes:
        ids, positions: [batch, 1], to be filled before a run.
        logits: [batch, num_vocab], where they may go.
    """

    def __init__(self, binding: Any, graph: ForeignGraph, batch: int, capacity: int) -> None:
        inputs = {name: np.dtype(kind) for name, kind in graph.inputs.items()}
        self.binding = binding
        self.ids = np.zeros((batch, 1), inputs["input_ids"])
        self.positions = np.zeros((batch, 1), inputs.get("position_ids", np.int64))
        self.logits = np.empty((batch, graph.num_vocab), graph.logits_dtype)
        self._batch = batch
        self._bound_logits: NDArray[Any] | None = None
        self._places = np.arange(capacity)
        self._mask = np.ones(batch * capacity, inputs["attention_mask"])
        self._mask_at = (self._mask.dtype.type, address_of(self._mask))
        for name, array in (("input_ids", self.ids), ("position_ids", self.positions)):
            if name in inputs:
                place = address_of(array)
                binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, place)

    def bind_mask(self, total: int, past: NDArray[np.int32] | None = None) -> None:
        """`total` tokens of the longest seat; `past` where there are several."""
        if past is not None:
            mask = self._mask[: self._batch * total].reshape(self._batch, total)
            np.less_equal(self._places[:total], past[:, None], out=mask, casting="unsafe")
        kind, place = self._mask_at
        self.binding.bind_input("attention_mask", "cpu", 0, kind, (self._batch, total), place)

    def bind_logits(self, logits: NDArray[Any]) -> None:
        if logits is not self._bound_logits:
            shape, place = (len(logits), 1, logits.shape[1]), address_of(logits)
            self.binding.bind_output("logits", "cpu", 0, logits.dtype.type, shape, place)
            self._bound_logits = logits


def agrees(in_place: InPlace, alone: Alone, graph: ForeignGraph, num_seats: int) -> bool:
    """Whether a sequence that is read in chunks, and beside a shorter one where there is a seat for
    it, comes out as alone. Leaves garbage behind in those seats."""
    tokens = np.arange(TRIED)[None] * 7 % graph.num_vocab

    def run(executor: InPlace | Alone, seat: int, past: list[int], given: NDArray[Any]) -> Any:
        rows = np.array([given.size - 1]) if len(given) == 1 else np.arange(len(given))
        logits = np.zeros((len(rows), graph.num_vocab), np.float32)
        hidden = np.zeros((len(rows), 1), np.float32)
        executor.run(Run(seat, np.array(past, np.int32), given, None, rows, logits, hidden))
        return logits

    wanted: list[Any] = []
    found: list[Any] = []
    for executor, logits in ((alone, wanted), (in_place, found)):
        logits.append(run(executor, 0, [0], tokens[:, :4]))
        logits.append(run(executor, 0, [4], tokens[:, 4:7]))
        if num_seats > 1:
            logits.append(run(executor, 1, [0], tokens[:, :2]))
    wanted.append(run(alone, 0, [7], tokens[:, 7:]))
    if num_seats > 1:
        wanted.append(run(alone, 1, [2], tokens[:, 7:]))
        found += list(run(in_place, 0, [7, 2], np.repeat(tokens[:, 7:], 2, axis=0))[:, None])
    else:
        found.append(run(in_place, 0, [7], tokens[:, 7:]))
    apart = max(float(np.abs(a - b).max()) for a, b in zip(wanted, found, strict=True))
    return apart <= _CLOSE * float(np.ptp(wanted[0]))
