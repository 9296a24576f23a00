"""What the steps of a model cost on a device, and so what a prompt and an answer take.

    cost = Cost("some model", step_ms={1: 24.5}, cell_ms=2.0e-4)
    cost.decode_ms(num_prompt=200, num_tokens=128)

The form is the core's (`native/src/policy/cost.h`), which starts from such a cost: a curve over the
rows of a step, and a slope for each KV cell that its rows read. Knows no device and no engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from edgereason.errors import UsageError

KNOTS: Final = tuple(1 << i for i in range(11))
"""Rows at which the core keeps what a step costs."""

LEAST_SPREAD: Final = 0.02  # of any prediction, in logarithms: what two equal runs differ by

_SHARED_ROWS: Final = 16  # a step of more rows computes on cells that it has read once


@dataclass(frozen=True, slots=True)
class Prefill:
    """A prompt of P tokens where its time goes by tiles, as in GPU kernels; milliseconds:

    max(least, base + sum(tile_ms[t] * P rounded up to t) + square_ms * P^2
        + chunk_ms * (chunks of chunk_tokens, less one))
    """

    base_ms: float = 0.0
    least_ms: float = 0.0
    tile_ms: Mapping[int, float] = field(default_factory=dict)
    square_ms: float = 0.0
    chunk_tokens: int = 0  # 0: no chunks
    chunk_ms: float = 0.0

    def ms(self, num_tokens: int) -> float:
        tiles = sum(ms * (-(-num_tokens // tile) * tile) for tile, ms in self.tile_ms.items())
        chunks = -(-num_tokens // self.chunk_tokens) - 1 if self.chunk_tokens else 0
        square = self.square_ms * num_tokens**2
        return max(self.least_ms, self.base_ms + tiles + square + self.chunk_ms * chunks)


@dataclass(frozen=True, slots=True)
class Power:
    """Watts while decoding. After t seconds: watts - rise_watts * exp(-t / rise); with a prompt of
    I tokens rise = rise_s + rise_s_per_token * I. A slow meter rises, too, not the board alone.
    """

    watts: float
    idle_watts: float = 0.0  # 0: not known
    rise_watts: float = 0.0
    rise_s: float = 0.0
    rise_s_per_token: float = 0.0

    def joules(self, decode_ms: float, num_prompt: int = 0) -> float:
        """Of a decode of so long, idle power included."""
        seconds = decode_ms / 1000
        rise = self.rise_s + self.rise_s_per_token * num_prompt
        if rise <= 0:
            return self.watts * seconds
        return self.watts * seconds - self.rise_watts * rise * (1 - math.exp(-seconds / rise))


@dataclass(frozen=True, slots=True)
class Cost:
    """What one model costs on one device, one request at a time.

    Attributes:
        model: its name, without the format.
        format: how weights are stored, `Q4_K_M`, ...
        step_ms: rows -> milliseconds of a step that reads no KV; keys of `KNOTS`, 1 among them.
        cell_ms: milliseconds for each KV cell that a row reads.
        batch: rows of a step at most: prompts are read in chunks of so many.
        prefill: where prompts do not follow `step_ms`.
        spread: standard deviation of log(measured / predicted).
        overhead_ms: of a token besides its step: sampling, planning.
        request_ms: of a request besides its tokens: its template, its way to the caller.
        weight_bytes: bytes of weights that one step reads; 0: not known.
        mode: power mode that it was measured in; "" where the device has none.
        source: who measured it, with what, when.
    """

    model: str
    source: str
    step_ms: Mapping[int, float]
    cell_ms: float = 0.0
    format: str = ""
    engine: str = ""
    mode: str = ""
    batch: int = 512
    prefill: Prefill | None = None
    power: Power | None = None
    overhead_ms: float = 0.0
    request_ms: float = 0.0
    spread: float = LEAST_SPREAD
    weight_bytes: float = 0.0
    num_parameters: float = 0.0

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise UsageError(f"the cost of {self.model} must say where it is from: source")
        wrong = [rows for rows, ms in self.step_ms.items() if rows not in KNOTS or not 0 < ms < 1e6]
        if wrong or 1 not in self.step_ms:
            raise UsageError(
                f"step_ms of {self.model} must have positive milliseconds for 1 row and for other "
                f"powers of two to {KNOTS[-1]}, got {dict(self.step_ms)}"
            )
        if not (0 <= self.cell_ms < 1e3 and self.batch > 0 and 0 <= self.spread < 3):
            raise UsageError(
                f"the cost of {self.model} must have a cell_ms of 0 or more, a batch above 0 and a "
                f"spread below 3, got {self.cell_ms}, {self.batch} and {self.spread}"
            )

    @property
    def knows_prompts(self) -> bool:
        return self.prefill is not None or len(self.step_ms) > 1

    def rows_ms(self, rows: int, cells: float = 0) -> float:
        """Milliseconds of a step of `rows` rows that read `cells` KV cells in all."""
        return self._curve(rows) + self.cell_ms * cells * min(1.0, _SHARED_ROWS / rows)

    def decode_ms(self, num_prompt: int, num_tokens: float) -> float:
        """From the first token to the last of `num_tokens`. The first comes out of the prompt, so
        there is one step less; the mean step sees the prompt and half of the answer.
        """
        steps = max(num_tokens - 1, 0)
        context = num_prompt + num_tokens / 2
        return steps * (self._curve(1) + self.cell_ms * context + self.overhead_ms)

    def prompt_ms(self, num_tokens: int, num_before: int = 0) -> float:
        """From a prompt of `num_tokens` to the first token; `num_before` are in the KV already."""
        if self.prefill is not None:
            return self.prefill.ms(num_tokens)
        if not self.knows_prompts:
            raise UsageError(
                f"what prompts of {self.model} cost is not known, only what tokens cost"
            )
        total, at, left = 0.0, num_before, num_tokens
        while left > 0:
            rows = min(left, self.batch)
            total += self.rows_ms(rows, rows * at + rows * (rows - 1) / 2)
            at, left = at + rows, left - rows
        return total

    def _curve(self, rows: float) -> float:
        curve = _filled(tuple(sorted(self.step_ms.items())))
        if rows > KNOTS[-1]:
            return curve[-1] * rows / KNOTS[-1]
        low = max(i for i, knot in enumerate(KNOTS[:-1]) if knot <= rows)
        share = (rows - KNOTS[low]) / KNOTS[low]
        return curve[low] + share * (curve[low + 1] - curve[low])


@lru_cache(maxsize=64)
def _filled(known: Sequence[tuple[int, float]]) -> tuple[float, ...]:
    """All knots of a curve that never falls: straight between two, in proportion above the last."""
    highest: list[tuple[int, float]] = []
    for rows, ms in known:
        highest.append((rows, max(ms, highest[-1][1] if highest else 0.0)))
    curve = []
    for knot in KNOTS:
        below = max((point for point in highest if point[0] <= knot), default=highest[0])
        above = min((point for point in highest if point[0] >= knot), default=None)
        if above is None:
            curve.append(below[1] * knot / below[0])
        elif above[0] == below[0]:
            curve.append(below[1])
        else:
            share = (knot - below[0]) / (above[0] - below[0])
            curve.append(below[1] + share * (above[1] - below[1]))
    return tuple(curve)


__all__ = ["KNOTS", "LEAST_SPREAD", "Cost", "Power", "Prefill"]
