"""Weights in blocks of few bits: x = scale * (code - zero), with the scale that fits best.

The error may be weighted by how strongly each input is driven (an importance matrix: the mean
square of the activations). Knows no file format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]

_CHUNK: Final = 1 << 16  # numbers worked on at once: they stay in a core's cache
_STRETCHES: Final = (0.9, 0.94, 0.97, 1.03, 1.06, 1.1, 1.14, 1.2)  # of 1 / scale, tried beside 1
_TINY: Final = np.float32(1e-30)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A weight [out, in] in blocks along `in`.

    Attributes:
        codes: [out, num_blocks, block], each below 2**bits.
        scales: [out, num_blocks].
        zeros: [out, num_blocks], the code that stands for 0; None: 2**(bits - 1) for all.
    """

    codes: Codes
    scales: Floats
    zeros: Codes | None
    bits: int

    def dequantized(self) -> Floats:
        zeros: Any = 1 << (self.bits - 1) if self.zeros is None else self.zeros[..., None]
        numbers = (self.codes.astype(np.float32) - zeros) * self.scales[..., None]
        return np.asarray(numbers.reshape(len(self.codes), -1), np.float32)


def quantize(
    weight: Floats,
    *,
    bits: int,
    block: int = 32,
    symmetric: bool = True,
    positive: bool = False,
    search: bool = True,
    importance: Floats | None = None,
) -> Blocks:
    """Blocks of `weight` [out, in]; `block` divides `in`.

    Args:
        symmetric: no zeros are stored.
        positive: only positive scales, as TensorRT wants; a negative one lets the largest number of
            a block have the code that has no counterpart.
        search: try several scales; otherwise the largest number decides (round to nearest).
        importance: [in], mean squares of the activations that meet each column. None: large numbers
            weigh more (as in ggml). By the plain error they would be cut, and models suffer more
            from that than from plain rounding.
    """
    out, width = weight.shape
    driven = None
    if importance is not None:
        mean = max(float(importance.mean()), _TINY)
        driven = (importance / mean + 1e-6).astype(np.float32).reshape(1, -1, block)
    search = search and bits < 8  # eight bits leave nothing to find
    codes = np.empty((out, width // block, block), np.uint8)
    scales = np.empty((out, width // block), np.float32)
    zeros = np.empty((out, width // block), np.uint8)
    for rows in _chunks(out, width):
        x = weight[rows].reshape(-1, width // block, block)
        tries = _tries(x, bits, symmetric, positive, search)
        weights = _spread(x) if driven is None else driven
        codes[rows], scales[rows], zeros[rows] = _fit(x, weights, bits, tries, search)
    return Blocks(codes, scales, None if symmetric else zeros, bits)


def joined(parts: Sequence[Blocks]) -> Blocks:
    """Weights of the same inputs and form as one, row by row."""
    zeros = [part.zeros for part in parts if part.zeros is not None]
    return Blocks(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.scales for part in parts]),
        np.concatenate(zeros) if zeros else None,
        parts[0].bits,
    )


def packed(codes: Codes, bits: int) -> Codes:
    """Codes along the last axis in bytes, the first of two in the low half."""
    if bits == 8:
        return codes
    if codes.shape[-1] % 2:  # the last byte is half full
        codes = np.concatenate([codes, np.zeros_like(codes[..., :1])], axis=-1)
    return np.asarray(codes[..., 0::2] | codes[..., 1::2] << 4, np.uint8)


def _chunks(out: int, width: int) -> Iterator[slice]:
    step = max(1, _CHUNK // width)
    yield from (slice(at, min(at + step, out)) for at in range(0, out, step))


def _tries(
    x: Floats, bits: int, symmetric: bool, positive: bool, search: bool
) -> Iterator[tuple[Floats, Floats]]:
    """Pairs of 1 / scale and zero, [..., 1] each, to be tried on the blocks of `x`."""
    half = 1 << (bits - 1)
    low, high = x.min(axis=-1, keepdims=True), x.max(axis=-1, keepdims=True)
    most = np.maximum(np.maximum(-low, high), _TINY)
    zero = np.full_like(most, half)
    if not symmetric:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        inverse = (2 * half - 1) / np.maximum(high - low, _TINY)
        zero = np.rint(-low * inverse)
    elif positive:
        inverse = (half - 1) / most
    else:
        inverse = np.where(-low >= high, half, -half) / most
    yield inverse, zero
    for stretch in _STRETCHES if search else ():
        yield inverse * stretch, zero if symmetric else np.rint(-low * inverse * stretch)


def _spread(x: Floats) -> Floats:
    """Weights of the error where nothing is known of the activations."""
    square = x * x
    return np.asarray(np.sqrt(square + square.mean(axis=-1, keepdims=True) + _TINY), np.float32)


def _fit(
    x: Floats, weights: Floats, bits: int, tries: Iterator[tuple[Floats, Floats]], search: bool
) -> tuple[Floats, Floats, Floats]:
    """Codes, scales and zeros that leave the least weighted error."""
    best: tuple[Any, ...] | None = None
    top = (1 << bits) - 1
    for inverse, tried_zero in tries:
        zero = np.clip(tried_zero, 0, top)
        code = np.clip(np.rint(x * inverse) + zero, 0, top)
        level = code - zero
        strong = weights * level
        power = np.maximum(np.einsum("...k,...k->...", strong, level)[..., None], _TINY)
        scale = np.einsum("...k,...k->...", strong, x)[..., None] / power  # least squares
        found = (scale * scale * power, code, scale if search else 1 / inverse, zero)
        if best is None:
            best = found
        else:
            better = found[0] > best[0]
            best = tuple(np.where(better, a, b) for a, b in zip(found, best, strict=True))
    assert best is not None
    return best[1], best[2][..., 0], best[3][..., 0]
