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
from edgereason.engines.graph.kv import Run
from edgereason.engines.graph.ort_executors import HostMemory

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
    if sizes.context < TRIED or sizes.sequences < 2:
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
        self._windows: dict[tuple[int, int], Any] = {}
        self.copy, self.read = self._memory.copy, self._memory.read
        self.write = self._memory.write

    def run(self, run: Run) -> None:
        place_of = {row: place for place, row in enumerate(run.rows.tolist())}
        if len(run.tokens) > 1:
            logits = self._piece(run.first, run.past, run.tokens)
            run.logits[:] = logits[run.rows]
            return
        start = 0
        for end in cuts(run.tokens.shape[1], place_of, self._most_rows):
            logits = self._piece(run.first, run.past + start, run.tokens[:, start:end])
            if end - 1 in place_of:
                run.logits[place_of[end - 1]] = logits[0]
            start = end

    def _piece(
        self, first: int, past: NDArray[np.int32], tokens: NDArray[np.int64]
    ) -> NDArray[Any]:
        """One run; the logits of the last row of each seat."""
        batch, num = tokens.shape
        ends = past + num
        values = {
            "input_ids": tokens,
            "attention_mask": np.arange(int(ends.max())) < ends[:, None],
            "position_ids": past[:, None] + np.arange(num),
        }
        key = (first, batch)
        binding = self._windows.get(key) or self._windows.setdefault(key, self._bind(first, batch))
        for name, dtype in self._graph.inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values[name], dtype))
        binding.bind_output("logits", "cpu")
        self._session.run_with_iobinding(binding)
        logits: NDArray[Any] = binding.get_outputs()[-1].numpy()
        return logits[:, -1]

    def _bind(self, first: int, batch: int) -> Any:
        """The KV of a window, which stays where it is."""
        binding, memory = self._session.io_binding(), self._memory
        shape = (batch, *self._seat_shape)
        for name, address in zip(self._graph.kv_names, memory.addresses, strict=True):
            place = ("cpu", 0, self._graph.kv_dtype, shape, address + first * memory.seat_bytes)
            binding.bind_input(f"past_key_values.{name}", *place)
            binding.bind_output(f"present.{name}", *place)
        return binding


def agrees(in_place: InPlace, alone: Alone, graph: ForeignGraph) -> bool:
    """Whether two sequences of unequal length, one read in chunks, come out as alone. Leaves
    garbage behind in the first two seats."""
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
        logits.append(run(executor, 1, [0], tokens[:, :2]))
    wanted += [run(alone, 0, [7], tokens[:, 7:]), run(alone, 1, [2], tokens[:, 7:])]
    found += list(run(in_place, 0, [7, 2], np.repeat(tokens[:, 7:], 2, axis=0))[:, None])
    apart = max(float(np.abs(a - b).max()) for a, b in zip(wanted, found, strict=True))
    return apart <= _CLOSE * float(np.ptp(wanted[0]))
