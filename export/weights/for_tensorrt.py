"""How TensorRT gets the weights of matrix products: half numbers, or codes and scales that a
DequantizeLinear turns back.

INT8 has one scale for each output, INT4 one for each block of inputs, FP8 one for all; no zero
points, as TensorRT wants it. Knows no graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from edgereason.errors import BundleError

from .blocks import quantize

Format = Literal["fp32", "fp16", "bf16", "fp8", "int8", "int4"]

CODES: Final[Mapping[str, Any]] = {
    "int8": np.int8,
    "int4": ml_dtypes.int4,
    "fp8": ml_dtypes.float8_e4m3fn,
}
"""Formats that need scales, and what their codes are."""

_FP8_MOST: Final = 448.0
_BLOCKS: Final = (64, 32)  # what is tried, in order
_SMALLEST_SCALE: Final = 2.0**-14  # below it float16 loses digits


@dataclass(frozen=True, slots=True)
class Stored:
    """`codes` [in, out] as they lie in the file; `scales` None where they are the weights."""

    codes: NDArray[Any]
    scales: NDArray[Any] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Weights:
    """What to make of a model's weights.

    Attributes:
        format: of the layers. The head has INT8 where they have INT4, which costs it too much.
        ranges: tensor -> the largest activation that meets it; those named are multiplied in codes
            (INT8, FP8), for the others the weights are turned back first.
        importance: tensor -> mean squares of its inputs [in]; INT4 fits those best.
    """

    format: Format
    ranges: Mapping[str, float] = field(default_factory=dict)
    importance: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def dtype(self) -> np.dtype[Any]:
        """In which matrices are multiplied."""
        if self.format == "fp32":
            return np.dtype(np.float32)
        return np.dtype(ml_dtypes.bfloat16 if self.format == "bf16" else np.float16)

    @property
    def quantizes(self) -> bool:
        return self.format in CODES

    @property
    def head_format(self) -> str:
        return "int8" if self.format == "int4" else self.format

    def reach(self, name: str, how: str) -> float:
        """The largest activation where they are to be rounded too; 0: they are not."""
        return self.ranges.get(name, 0.0) if how in ("int8", "fp8") else 0.0

    def store(self, name: str, array: NDArray[np.float32], how: str) -> Stored:
        """`array` [out, in] of the tensor `name`."""
        if how not in CODES:
            return Stored(np.ascontiguousarray(self.cast(name, array).T))
        if how == "fp8":
            scale = np.float32(max(float(np.abs(array).max()) / _FP8_MOST, _SMALLEST_SCALE))
            codes = np.ascontiguousarray((array.T / scale).astype(CODES[how]))
            return Stored(codes, np.asarray(scale, self.dtype))
        block = block_of(array.shape[1]) if how == "int4" else 0
        return self._int4(name, array, block) if block else self._int8(array)

    def cast(self, name: str, array: NDArray[np.float32]) -> NDArray[Any]:
        """The weights in the type that matrices are multiplied in."""
        with np.errstate(over="ignore"):
            numbers = array.astype(self.dtype)
        if self.dtype == np.float16 and not np.isfinite(numbers).all():
            raise BundleError(f"{name} holds numbers that float16 cannot", "take --quant bf16")
        return numbers

    def _int8(self, array: NDArray[np.float32]) -> Stored:
        most = np.abs(array).max(axis=1)
        scales = np.maximum(most / 127, _SMALLEST_SCALE).astype(self.dtype)
        codes = np.clip(np.rint(array / scales.astype(np.float32)[:, None]), -127, 127)
        return Stored(np.ascontiguousarray(codes.T.astype(np.int8)), scales, {"axis": 1})

    def _int4(self, name: str, array: NDArray[np.float32], block: int) -> Stored:
        blocks = quantize(
            array, bits=4, block=block, positive=True, importance=self.importance.get(name)
        )
        codes = blocks.codes.reshape(array.shape).T.astype(np.int8) - 8
        scales = np.ascontiguousarray(blocks.scales.T.astype(self.dtype))
        signed = np.ascontiguousarray(codes.astype(CODES["int4"]))
        return Stored(signed, scales, {"axis": 0, "block_size": block})


def block_of(width: int) -> int:
    """Inputs that share a scale in INT4; 0 where no size fits, and INT8 is taken."""
    return next((block for block in _BLOCKS if width % block == 0), 0)
