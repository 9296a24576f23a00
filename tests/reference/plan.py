"""Slow twin of the planner (native/src/plan.cc), written from the rules in plan.h."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

BATCH_WIDTH = 8
PREFILL_ROWS = 64
SHORT_ROWS = 16
SLOW_STEPS = 2.0


@dataclass(frozen=True)
class Seq:
    priority: int = 0
    deadline_ms: float = math.inf
    pending: int = 1
    owed_rows: int = 0
    owed_steps: int = 0
    thinking: bool = False
    blocked: bool = False
    watched: bool = True

    @property
    def owed(self) -> bool:
        return (not self.thinking or self.pending > 1) and math.isfinite(self.deadline_ms)


@dataclass(frozen=True)
class Limits:
    max_rows: int = 512
    now_ms: float = 0.0
    chunk_ms: float = 50.0
    margin: float = 1.15
    slack: float = 1.0


class Cost(Protocol):
    def step_ms(self, rows: int, /) -> float: ...
    def rows_within(self, ms: float, max_rows: int, /) -> int: ...


def prefill_ms(rows: int, cost: Cost) -> float:
    if rows <= 0:
        return 0.0
    if rows <= PREFILL_ROWS:
        return cost.step_ms(rows)
    return cost.step_ms(PREFILL_ROWS) * rows / PREFILL_ROWS


def together_ms(seqs: Sequence[Seq], cost: Cost) -> float:
    """Owed work of several sequences, served side by side."""
    width = min(max(len(seqs), 1), BATCH_WIDTH)
    rows = sum(seq.pending + seq.owed_rows for seq in seqs)
    steps = sum(seq.owed_steps for seq in seqs)
    longest = max((seq.owed_steps for seq in seqs), default=0)
    return prefill_ms(rows, cost) + max(
        cost.step_ms(width) / width * steps, longest * cost.step_ms(1)
    )


def owed_ms(seq: Seq, cost: Cost) -> float:
    return prefill_ms(seq.pending + seq.owed_rows, cost) + seq.owed_steps * cost.step_ms(1)


def num_to_close(seqs: Sequence[Seq], cost: Cost, limits: Limits) -> int:
    """`seqs` by deadline."""
    dated = [seq for seq in seqs if math.isfinite(seq.deadline_ms)]
    close, horizon = 0, -math.inf
    for i, seq in enumerate(dated):
        horizon = max(horizon, seq.deadline_ms + owed_ms(seq, cost))
        beside = [other for other in dated if other.deadline_ms <= horizon]
        step = max(cost.step_ms(min(len(beside), BATCH_WIDTH)), prefill_ms(1 + seq.owed_rows, cost))
        need = limits.margin * limits.slack * together_ms(beside, cost) + step
        if limits.now_ms + need > seq.deadline_ms:
            close = i + 1
    return close


def yields(
    seq: Seq, seqs: Sequence[Seq], by_deadline: Sequence[int], cost: Cost, now: float
) -> bool:
    above: list[Seq] = []
    for other in (seqs[i] for i in by_deadline):
        if other.priority <= seq.priority:
            continue
        above.append(other)
        left = other.deadline_ms - now
        if together_ms(above, cost) <= left < together_ms([seq, *above], cost):
            return True
    return False


def due_ms(seq: Seq, cost: Cost, limits: Limits) -> float:
    """Until its deadline, or until its thinking must end."""
    left = seq.deadline_ms - limits.now_ms
    spare = left - limits.margin * owed_ms(seq, cost)
    return spare if seq.thinking and not seq.blocked and spare > 0 else left


def grant_rows(
    seqs: Sequence[Seq], by_deadline: Sequence[int], cost: Cost, limits: Limits
) -> list[int]:
    rows = [0] * len(seqs)
    ready = [seq for seq in seqs if not seq.blocked]
    top = max((seq.priority for seq in ready), default=0)
    left = min((due_ms(seqs[i], cost, limits) for i in by_deadline), default=math.inf)

    def allowed(seq: Seq, later: float) -> float:
        if not math.isfinite(seq.deadline_ms):
            return math.inf
        left = (seq.deadline_ms - limits.now_ms) / limits.margin
        return left - (owed_ms(seq, cost) if seq.thinking else (seq.owed_steps - 1) * later)

    def add(i: int) -> None:
        total = sum(rows)
        inside = [j for j, num in enumerate(rows) if num > 0]
        slow = SLOW_STEPS * cost.step_ms(max(len(inside), 1))
        least = SHORT_ROWS if any(seq.watched for seq in ready) else PREFILL_ROWS
        chunk = max(limits.chunk_ms, slow, cost.step_ms(least))
        room = limits.max_rows - total
        if total > 0:
            later = cost.step_ms(len(inside) + 1)
            most = min(left / 2, *(allowed(seqs[j], later) for j in [*inside, i]))
            if cost.step_ms(total + 1) > most:
                return
            if seqs[i].pending > 1:
                short = seqs[i].pending <= SHORT_ROWS and total + seqs[i].pending <= PREFILL_ROWS
                target = most if short else min(most, chunk)
                room = min(room, cost.rows_within(target, limits.max_rows) - total)
        elif seqs[i].pending > 1:
            is_rest = cost.step_ms(seqs[i].pending) <= min(left, chunk)
            most = left if is_rest else left / 2
            alone = len(ready) == 1
            free = alone and math.isinf(seqs[i].deadline_ms)
            if seqs[i].pending > SHORT_ROWS and not free:
                most = min(most, (2 if alone else 1) * chunk)
            room = min(room, cost.rows_within(most, limits.max_rows))
        rows[i] = max(0, min(seqs[i].pending, room))

    owed = [i for i in by_deadline if not seqs[i].blocked and seqs[i].owed]
    waits = {i: yields(seqs[i], seqs, by_deadline, cost, limits.now_ms) for i in owed}
    for i in owed:
        if not waits[i]:
            add(i)
    for i in owed:
        if waits[i] and sum(rows) == 0:
            add(i)
    for i, seq in enumerate(seqs):
        if not seq.blocked and not seq.owed and seq.priority == top:
            add(i)
    return rows
