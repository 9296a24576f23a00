"""How long a model will think, and how likely an answer is late.

    lateness = Lateness(lambda tokens: 300 + 24.5 * tokens)     # milliseconds, predicted
    lateness.observe(tokens=412, cut=False, took_ms=9800)       # after each request
    lateness.p_late(15_000)

Lengths of thoughts have long tails, so their density is a kernel on the logarithm. A length that a
budget cut counts as "at least so many" (Kaplan-Meier), never as a length. The estimate is refitted
every 25 requests: one that is fixed after 50 misses its aim too often (docs/planning.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgereason.errors import UsageError

Array: TypeAlias = NDArray[np.float64]

FEW: Final = 20
"""Lengths, below which they are pooled over tasks and told as wide."""

_WIDER: Final = 1.5  # times the kernel's width, below `FEW`
_REFIT: Final = 25  # requests
_RATIOS: Final = 50  # latest requests whose measured by predicted time is the load
_DRAWS: Final = 4000


@dataclass(frozen=True, slots=True)
class Length:
    """Thinking tokens of one request; `cut`: it would have been longer."""

    tokens: int
    cut: bool = False

    def __post_init__(self) -> None:
        if self.tokens < 0:
            raise UsageError(f"a length must be 0 tokens or more, got {self.tokens}")


class Lengths:
    """A distribution of lengths. What may lie beyond all that was seen is drawn as infinite."""

    def __init__(self, seen: Iterable[Length]) -> None:
        known = sorted(seen, key=lambda length: (length.tokens, length.cut))
        if not known:
            raise UsageError("no lengths to learn from", "give trials, or a hard think budget")
        self.num = len(known)
        self.num_cut = sum(length.cut for length in known)
        self._values, self._shares, self.beyond = _masses(known)
        self._width = _kernel_width(self._values, self._shares, self.num)

    @property
    def is_wide(self) -> bool:
        """Too few were seen to say more than roughly how long."""
        return self.num - self.num_cut < FEW

    def draw(self, rng: np.random.Generator, num: int) -> Array:
        """[num] lengths in tokens."""
        shares = np.append(self._shares, self.beyond)
        values = np.append(self._values, np.inf)
        drawn = rng.choice(values, size=num, p=shares / shares.sum())
        kernel = np.exp(self._width * rng.standard_normal(num))
        return np.where((drawn > 0) & np.isfinite(drawn), drawn * kernel, drawn)


def _masses(known: Sequence[Length]) -> tuple[Array, Array, float]:
    """Lengths that ended by themselves, the share of each, and the share that is longer than all:
    what a cut length weighs goes to the longer ones in equal parts."""
    values, shares, left = [], [], 1.0
    for index, length in enumerate(known):
        if not length.cut:
            share = left / (len(known) - index)
            values.append(float(length.tokens))
            shares.append(share)
            left -= share
    return np.array(values), np.array(shares), max(left, 0.0) if known[-1].cut else 0.0


def _kernel_width(values: Array, shares: Array, num: int) -> float:
    """Silverman's rule on the logarithm: .9 * min(sd, IQR / 1.34) * n^(-1/5)."""
    is_long = values > 0
    if is_long.sum() < 2:
        return 0.0
    logs, weights = np.log(values[is_long]), shares[is_long] / shares[is_long].sum()
    mean = float(weights @ logs)
    spread = float(np.sqrt(weights @ (logs - mean) ** 2))
    order = np.argsort(logs)
    reached = np.cumsum(weights[order])
    low, high = (
        logs[order][np.searchsorted(reached, q).clip(max=len(logs) - 1)] for q in (1 / 4, 3 / 4)
    )
    quartiles = float(high - low) / 1.34
    width: float = 0.9 * (min(spread, quartiles) or spread) * float(num) ** -0.2
    return width * (_WIDER if num < FEW else 1.0)


class Lateness:
    """The times of requests of one model, task and way: learned while they come.

    Args:
        time_ms: predicted milliseconds of requests that think so many tokens, [num] -> [num].
        lengths: what is known before the first request.
        limit: a hard think budget; no thought is longer.
        spread: of measured to predicted time in logarithms, until requests tell it.
    """

    def __init__(
        self,
        time_ms: Callable[[Array], Array],
        lengths: Iterable[Length] = (),
        *,
        limit: float = np.inf,
        spread: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._time_ms, self._limit, self._spread = time_ms, limit, spread
        self._lengths = list(lengths)
        self._ratios: deque[float] = deque(maxlen=_RATIOS)
        self._rng = np.random.default_rng(seed)
        self._times: Array | None = None
        self._since = 0

    def observe(self, tokens: int, took_ms: float, *, cut: bool = False) -> None:
        """A request that is over. One that was cut by a deadline tells its length as "at least";
        whose clock cut many should also ask some questions with a longer one."""
        self._lengths.append(Length(tokens, cut))
        predicted = float(self._time_ms(np.array([float(tokens)]))[0])
        if predicted > 0 and took_ms > 0:
            self._ratios.append(took_ms / predicted)
        self._since += 1
        if self._since >= _REFIT:
            self._times = None

    @property
    def times(self) -> Array:
        """[draws] milliseconds, sorted; infinite where nothing that was seen says how long."""
        if self._times is None:
            self._times, self._since = self._drawn(), 0
        return self._times

    def p_late(self, deadline_ms: float) -> float:
        """The chance that a request would take longer than this."""
        return float((self.times > deadline_ms).mean())

    def within(self, share: float) -> float:
        """Milliseconds that so large a share of requests keep; infinite where that is not known."""
        return float(np.quantile(self.times, share, method="higher"))

    def _drawn(self) -> Array:
        lengths = Lengths(self._lengths).draw(self._rng, _DRAWS)
        times = self._time_ms(np.minimum(lengths, self._limit))
        load: Any
        if self._ratios:
            load = self._rng.choice(np.array(self._ratios), size=_DRAWS)
        else:
            load = np.exp(self._spread * self._rng.standard_normal(_DRAWS))
        return np.sort(times * load)


__all__ = ["FEW", "Lateness", "Length", "Lengths"]
