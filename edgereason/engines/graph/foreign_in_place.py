"""Graphs of other tools whose attention is GroupQueryAttention: KV is written where it lies.

That operator takes a cache longer than its text, and each row's length from `attention_mask`, so
that sequences run side by side and nothing is copied. Whether a graph really means it so is found
out by `agrees`, against `Alone`, which asks nothing of a graph. CPU only.
"""

from __future__ import annotations

import mmap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.engines.graph.exported import Sizes
from edgereason.engines.graph.foreign import Alone, ForeignGraph, cuts, most_rows
from edgereason.engines.graph.kv import Run
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
        self._places = np.arange(sizes.context)
        self._plain = graph.logits_dtype == np.float32
        self.copy, self.read = self._memory.copy, self._memory.read
        self.write = self._memory.write

    def run(self, run: Run) -> None:
        batch, num = run.tokens.shape
        if batch > 1:
            self._side_by_side(run)
            return
        past = int(run.past[0])
        if num == 1:
            run.logits[:] = self.step(run.first, past, int(run.tokens[0, 0]))[: len(run.rows)]
            return
        place_of = {row: place for place, row in enumerate(run.rows.tolist())}
        start = 0
        for end in cuts(num, place_of, self._most_rows):
            logits = self._piece(run.first, past + start, run.tokens[:, start:end])
            if end - 1 in place_of:
                run.logits[place_of[end - 1]] = logits
            start = end

    def step(self, seat: int, past: int, token: int) -> NDArray[Any]:
        """One token of one seat; see `StepOfOne`."""
        window = self._windows.get((seat, 1)) or self._window(seat, 1)
        ids, positions, mask = window.flat
        if window.total != past:
            window.mask[0] = self._places < past
        ids[0], positions[0], mask[past] = token, past, 1
        window.total = past + 1
        window.run()
        return window.logits if self._plain else window.logits.astype(np.float32)

    def _side_by_side(self, run: Run) -> None:
        """A token of each seat."""
        window = self._window(run.first, len(run.past))
        window.ids[:, 0], window.positions[:, 0] = run.tokens[:, 0], run.past
        np.less_equal(self._places, run.past[:, None], out=window.mask, casting="unsafe")
        window.run()
        run.logits[:] = window.logits[run.rows]

    def _window(self, first: int, batch: int) -> _Window:
        window = self._windows.get((first, batch))
        if window is None:
            binding, capacity = self._bind(first, batch), self._seat_shape[1]
            window = _Window(self._session, binding, self._graph, batch, capacity)
            self._windows[first, batch] = window
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
    """Neighbouring seats that get a token each. All is bound once: before a run numbers are written
    to where it reads them.

    Attributes:
        ids, positions: [batch, 1].
        mask: [batch, capacity], 1 for the tokens that a seat has then.
        flat: these three as plain memory, which takes a number sooner than an array does.
        logits: [batch, num_vocab], where they come.
        total: tokens that the mask of the only seat shows.
        run: runs the graph.
    """

    def __init__(
        self,
        session: InferenceSession,
        binding: Any,
        graph: ForeignGraph,
        batch: int,
        capacity: int,
    ) -> None:
        """`binding` has the KV already."""
        widths = {"input_ids": 1, "position_ids": 1, "attention_mask": capacity}
        inputs = {
            name: np.zeros((batch, width), graph.inputs.get(name, "int64"))
            for name, width in widths.items()
        }
        self.ids, self.positions, self.mask = inputs.values()
        self.flat = tuple(array.reshape(-1).data for array in inputs.values())
        self.logits = np.empty((batch, graph.num_vocab), graph.logits_dtype)
        self.total = 0
        for name, array in inputs.items():
            if name in graph.inputs:
                place = address_of(array)
                binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, place)
        shape, place = (batch, 1, graph.num_vocab), address_of(self.logits)
        binding.bind_output("logits", "cpu", 0, self.logits.dtype.type, shape, place)
        self.run = partial(session.run_with_iobinding, binding)


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
