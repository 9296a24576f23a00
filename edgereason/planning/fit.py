"""Costs out of measured times: least relative error, coefficients that are never negative.

    step_ms, cell_ms = fit_decode([(128, 256, 6.3e3), ...])      # prompt, tokens, milliseconds
    prefill = fit_prefill([(129, 49.2), (256, 54.8), ...])        # prompt, milliseconds

Relative, since runs differ by a factor of a hundred; absolute values, not squares, for prompts,
where one bad point would pull all others. Four runs do for decoding. Needs scipy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.errors import UnsupportedError, UsageError
from edgereason.planning.cost import Prefill

TILES: Final = (64, 256)
CHUNK_TOKENS: Final = 2048

Decoded = tuple[int, int, float]  # tokens of the prompt, tokens of the answer, milliseconds
Read = tuple[int, float]  # tokens of the prompt, milliseconds to the first token


def fit_decode(runs: Iterable[Decoded]) -> tuple[float, float]:
    """Milliseconds of a step that reads no KV, and for each cell read. Runs of one token are passed
    over: they have no step.
    """
    known = [(prompt, tokens, ms) for prompt, tokens, ms in runs if tokens > 1 and ms > 0]
    if len({(prompt + tokens / 2) for prompt, tokens, _ in known}) < 2:
        raise UsageError(
            f"{len(known)} runs do not tell a step from its context",
            "give runs of two tokens or more at two lengths of context",
        )
    table = np.array([(tokens - 1, (tokens - 1) * (p + tokens / 2)) for p, tokens, _ in known])
    took = np.array([ms for *_, ms in known])
    step_ms, cell_ms = _least_squares(table / took[:, None])
    return step_ms, cell_ms


def _least_squares(relative: NDArray[Any]) -> tuple[float, float]:
    """Two coefficients, the second at least 0."""
    one = np.ones(len(relative))
    (first, second), *_ = np.linalg.lstsq(relative, one, rcond=None)
    if second < 0:
        column = relative[:, 0]
        return float(column.sum() / (column**2).sum()), 0.0
    return float(first), float(second)


def fit_prefill(
    runs: Iterable[Read], *, tiles: Sequence[int] = TILES, chunk_tokens: int = CHUNK_TOKENS
) -> Prefill:
    """The shortest prompt is the least time; the rest are fitted."""
    known = sorted((num, ms) for num, ms in runs)
    if len(known) < len(tiles) + 4:
        raise UsageError(f"{len(known)} prompts are too few", f"give {len(tiles) + 4} or more")
    (_, least_ms), *rest = known
    parts: list[Callable[[int], float]] = [lambda _: 1.0]
    parts += [lambda num, tile=tile: -(-num // tile) * tile for tile in tiles]  # type: ignore[misc]  # its default binds the tile
    parts += [lambda num: num**2, lambda num: -(-num // chunk_tokens) - 1]
    table = np.array([[part(num) for part in parts] for num, _ in rest], dtype=float)
    base, *of_tiles, square, chunk = _least_absolute(table / np.array([[ms] for _, ms in rest]))
    return Prefill(
        base_ms=base,
        least_ms=least_ms,
        tile_ms={tile: ms for tile, ms in zip(tiles, of_tiles, strict=True) if ms > 0},
        square_ms=square,
        chunk_tokens=chunk_tokens,
        chunk_ms=chunk,
    )


def _least_absolute(relative: NDArray[Any]) -> list[float]:
    """Coefficients c >= 0 with the least sum of |relative @ c - 1|, as a linear program."""
    try:
        from scipy.optimize import linprog
    except ImportError:
        raise UnsupportedError(
            "fitting prompts needs scipy, which is not installed", "pip install 'edgereason[plan]'"
        ) from None
    num, width = relative.shape
    scale = relative.max(axis=0)  # columns differ by a factor of millions
    scale[scale == 0] = 1
    scaled, one, slack = relative / scale, np.ones(num), np.eye(num)
    found = linprog(
        np.concatenate([np.zeros(width), one]),
        A_ub=np.block([[scaled, -slack], [-scaled, -slack]]),
        b_ub=np.concatenate([one, -one]),
        bounds=(0, None),
        method="highs",
    )
    if not found.success:
        raise UsageError(f"the times of prompts cannot be fitted: {found.message}")
    return [float(value) for value in found.x[:width] / scale]


def spread_of(pairs: Iterable[tuple[float, float]]) -> float:
    """Of (measured, predicted): the standard deviation of the logarithm of their ratio."""
    logs = [math.log(measured / predicted) for measured, predicted in pairs]
    return math.sqrt(math.fsum(x * x for x in logs) / max(len(logs), 1))


__all__ = ["fit_decode", "fit_prefill", "spread_of"]
