"""KV bookkeeping for graphs that have none: which sequence lies where in a pool of seats.

A pool holds, per layer, keys and values as [seats, kv_heads, capacity, head_dim]. A seat has
`capacity` cells, those of one sequence, valid up to its length; what lies behind is garbage. One
run of the graph covers a window of neighbouring seats: idle seats inside it compute a row for
nothing, which lands behind their length. An `Executor` does what touches memory. Knows no library
and no device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the graph over the seats `first`, `first + 1`, ...

    Attributes:
        past: [batch], tokens that each seat of the window has; new KV goes right behind them, and
            fits. A view of what changes after the run.
        tokens: [batch, length]; -1 where the embedding is taken. `length` is 1 where `batch` is
            more.
        embeddings: [batch, length, num_embd], or None where no token is -1.
        rows: [num_outputs], indices into batch * length in any order; may be empty.
        logits: [num_outputs, num_vocab], C-contiguous, to be filled.
        hidden: [num_outputs, num_embd], likewise.
    """

    first: int
    past: NDArray[np.int32]
    tokens: NDArray[np.int64]
    embeddings: Floats | None
    rows: NDArray[np.int64]
    logits: Floats
    hidden: Floats


class Executor(Protocol):
    """A graph, and the pool of KV it works on. Raises what breaks; nothing is retried."""

    def run(self, run: Run) -> None:
        """Runs the graph and fills `run.logits` and `run.hidden`."""

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` tokens of one seat into another."""

    def read(self, seat: int, length: int) -> bytes:
        """The KV of the first `length` tokens."""

    def write(self, seat: int, length: int, data: bytes) -> None:
        """What `read` gave, for the same length."""


class StepOfOne(Protocol):
    """What an executor without embeddings and hidden states may have as `step`: the run of one
    token, without arrays, since after each run of the graph all code and data are cold again."""

    def __call__(self, seat: int, past: int, token: int) -> Floats:
        """The logits [1, num_vocab], which are read before the next run."""


class PooledModel:
    """A `HostModel` over an executor: sequences to seats, steps to runs."""

    def __init__(
        self,
        executor: Executor,
        *,
        num_seats: int,
        capacity: int,
        num_vocab: int,
        num_embd: int,
        side_by_side: bool = True,
    ) -> None:
        """`side_by_side`: whether a run may have several sequences."""
        self._executor = executor
        self._side_by_side = side_by_side
        self._capacity = capacity
        self._seat_of: dict[int, int] = {}
        self._used = [False] * num_seats
        self._length = np.zeros(num_seats, np.int32)  # of each seat; 0 where it is free
        # The results of a step, and those of a run whose rows lie apart in it.
        self._logits = np.zeros((num_seats, num_vocab), np.float32)
        self._hidden = np.zeros((num_seats, num_embd), np.float32)
        self._apart = (np.zeros_like(self._logits), np.zeros_like(self._hidden))
        self._past = self._length.data
        if step := getattr(executor, "step", None):
            self._step_of_one: StepOfOne = step
            self.step = self._one

    # -- the calls of a HostModel ------------------------------------------------------------------

    def _one(self, seq: int, token: int) -> Floats:
        """See `HostModel.step`."""
        seat = self._seat(seq)
        past = self._past[seat]
        logits = self._step_of_one(seat, past, token)
        self._past[seat] = past + 1
        return logits

    def decode(
        self,
        seqs: NDArray[np.int32],
        positions: NDArray[np.int32],
        tokens: NDArray[np.int32],
        outputs: NDArray[np.bool_],
        embeddings: Floats | None,
    ) -> tuple[Floats, Floats]:
        step = _Step(tokens.astype(np.int64), embeddings, outputs, np.cumsum(outputs) - 1)
        rows_of: dict[int, list[int]] = {}
        for row, seq in enumerate(seqs.tolist()):
            rows_of.setdefault(seq, []).append(row)
        seats = {seq: self._seat(seq) for seq in rows_of}
        single = {seats[seq]: rows[0] for seq, rows in rows_of.items() if len(rows) == 1}
        # These come first: their windows may lie over seats that the others have yet to write to.
        if single:
            single = self._gather(single) if self._side_by_side else single
            for window in self._windows(sorted(single)):
                table = np.array([[single.get(seat, -1)] for seat in window])
                self._run(step, window.start, table)
        for seq, rows in rows_of.items():
            if len(rows) > 1:
                self._run(step, seats[seq], np.array([rows]))
        for seq, rows in rows_of.items():
            self._length[self._seat_of[seq]] += len(rows)
        return self._logits, self._hidden

    def fork(self, source: int, target: int, length: int) -> None:
        seat = self._seat(target)
        self._executor.copy(self._seat_of[source], seat, length)
        self._length[seat] = length

    def trim(self, seq: int, length: int) -> None:
        if length:
            self._length[self._seat_of[seq]] = length
        else:
            self._free(self._seat_of.pop(seq))

    def save(self, seq: int) -> bytes:
        seat = self._seat_of[seq]
        return self._executor.read(seat, int(self._length[seat]))

    def load(self, seq: int, length: int, data: bytes) -> None:
        seat = self._seat(seq)
        self._executor.write(seat, length, data)
        self._length[seat] = length

    def set_threads(self, num_threads: int) -> None:
        """Never called: a graph's threads are fixed when it is opened."""

    # -- seats -------------------------------------------------------------------------------------

    def _seat(self, seq: int) -> int:
        seat = self._seat_of.get(seq)
        if seat is None:
            seat = self._seat_of[seq] = self._used.index(False)
            self._used[seat] = True
        return seat

    def _free(self, seat: int) -> None:
        self._used[seat] = False
        self._length[seat] = 0

    def _gather(self, rows: dict[int, int]) -> dict[int, int]:
        """Moves seats (the keys) together where a window around them would be mostly idle."""
        num_seats, width = len(self._used), _most_wide(len(rows))
        if max(rows) - min(rows) < width:
            return rows
        best: tuple[int, int, list[tuple[int, int]]] | None = None
        for first in range(num_seats - width + 1):
            window = range(first, first + width)
            outside = [seat for seat in rows if seat not in window]
            holes = [seat for seat in window if not self._used[seat]]
            if len(outside) <= len(holes):
                cost = sum(int(self._length[seat]) for seat in outside)
                best = min(best or (cost + 1, 0, []), (cost, first, [*zip(outside, holes)]))  # noqa: B905  # holes may be more
        moved = {}
        for source, target in best[2] if best else ():
            self._executor.copy(source, target, int(self._length[source]))
            self._length[target], self._used[target] = self._length[source], True
            self._free(source)
            moved[source] = target
        self._seat_of = {seq: moved.get(seat, seat) for seq, seat in self._seat_of.items()}
        return {moved.get(seat, seat): row for seat, row in rows.items()}

    def _windows(self, seats: list[int]) -> list[range]:
        """Covers `seats`, which are sorted. An idle seat that is full has no room for a dummy."""
        windows = [range(seats[0], seats[0] + 1)]
        num = 1
        for seat in seats[1:]:
            start, stop = windows[-1].start, windows[-1].stop
            blocked = not self._side_by_side or (self._length[stop:seat] >= self._capacity).any()
            if blocked or seat - start >= _most_wide(num + 1):
                windows.append(range(seat, seat + 1))
                num = 1
            else:
                windows[-1] = range(start, seat + 1)
                num += 1
        return windows

    # -- runs --------------------------------------------------------------------------------------

    def _run(self, step: _Step, first: int, table: NDArray[np.int64]) -> None:
        """One run of the graph; `table` [batch, length] names the row of the step at each place, -1
        where a seat idles."""
        there = table >= 0
        tokens = np.where(there, step.tokens[table], 0)
        embeddings = None
        if step.embeddings is not None and (tokens < 0).any():
            embeddings = step.embeddings[table]
        wanted = np.flatnonzero(there & step.outputs[table])
        places = step.places[table.reshape(-1)[wanted]]
        start, num = (int(places[0]), len(places)) if len(places) else (0, 0)
        in_order = num < 2 or bool((np.diff(places) == 1).all())
        begin = start if in_order else 0
        part = slice(begin, begin + num)
        logits, hidden = (self._logits, self._hidden) if in_order else self._apart
        past = self._length[first : first + len(table)]
        self._executor.run(Run(first, past, tokens, embeddings, wanted, logits[part], hidden[part]))
        if not in_order:
            self._logits[places], self._hidden[places] = logits[part], hidden[part]


class _Step:
    """The rows of a step: tokens, embeddings, whether each has output, and the place of that output
    among all outputs of the step."""

    __slots__ = ("embeddings", "outputs", "places", "tokens")

    def __init__(
        self,
        tokens: NDArray[np.int64],
        embeddings: Floats | None,
        outputs: NDArray[np.bool_],
        places: NDArray[np.int64],
    ) -> None:
        self.tokens = tokens
        self.embeddings = embeddings
        self.outputs = outputs
        self.places = places


def _most_wide(num: int) -> int:
    """Seats that a window for `num` rows may have: another run reads all weights once more, an idle
    seat costs the work of a row."""
    return num + num // 2
