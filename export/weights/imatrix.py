"""Importance matrices: how strongly each input of a weight is driven.

The files are GGUF as llama.cpp's tools read and write them, and hold one thing more that those pass
over: the largest absolute input of each weight, for formats that store activations in few bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgereason.errors import BundleError, UsageError
from edgereason.models import gguf

from ..offline import whole

_SUMS: Final = ".in_sum2"
_COUNTS: Final = ".counts"
_LARGEST: Final = ".in_max"
_F32: Final = 0


@dataclass(frozen=True, slots=True)
class Imatrix:
    """Figures by name of the weight, as GGUF calls it.

    Attributes:
        sums: sums of squares, [num_matrices, num_columns]; one matrix, or one for each expert.
        counts: rows that were summed up, [num_matrices].
        largest: largest absolute input; empty in files of llama.cpp's tools.
        datasets: names of the texts it was computed on.
        num_chunks, chunk_size: how much text that was, in tokens.
    """

    sums: Mapping[str, NDArray[np.float32]]
    counts: Mapping[str, NDArray[np.int64]]
    largest: Mapping[str, float]
    datasets: tuple[str, ...] = ()
    num_chunks: int = 0
    chunk_size: int = 512

    def __post_init__(self) -> None:
        if not self.sums:
            raise UsageError("an importance matrix without entries helps nobody")
        for name, sums in self.sums.items():
            # Halves of experts' counts would scale them wrongly, an inf would zero all others.
            if self.counts[name].shape != sums.shape[:1] or not np.isfinite(sums).all():
                raise BundleError(f"the importance of {name} is damaged: not finite, or miscounted")

    def importance(self, name: str) -> NDArray[np.float32] | None:
        """Mean square of each input, [num_matrices, num_columns]; 1 for experts that were never
        asked. None: nothing is known of this weight."""
        if name not in self.sums:
            return None
        counts = self.counts[name][:, None]
        mean = self.sums[name] / np.maximum(counts, 1)
        return np.where(counts > 0, mean, 1).astype(np.float32)


def of_activations(
    found: Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64], float]],
    datasets: tuple[str, ...],
    num_tokens: int,
    chunk_size: int,
) -> Imatrix:
    """What an engine collected. `num_tokens` is how much text it read."""
    return Imatrix(
        sums={name: sums.astype(np.float32) for name, (sums, _, _) in found.items()},
        counts={name: counts for name, (_, counts, _) in found.items()},
        largest={name: largest for name, (_, _, largest) in found.items()},
        datasets=datasets,
        num_chunks=-(-num_tokens // chunk_size),
        chunk_size=chunk_size,
    )


def write(imatrix: Imatrix, path: Path) -> None:
    """Writes a file that llama.cpp's tools read; whole or not at all."""
    from gguf import GGUFWriter

    class Writer(GGUFWriter):
        def add_architecture(self) -> None:
            """Such a file has none."""

    with whole(path) as unfinished:
        writer = Writer(unfinished, "")
        writer.add_type("imatrix")
        writer.add_array("imatrix.datasets", list(imatrix.datasets))
        writer.add_uint32("imatrix.chunk_count", imatrix.num_chunks)
        writer.add_uint32("imatrix.chunk_size", imatrix.chunk_size)
        for name in sorted(imatrix.sums):
            counts = imatrix.counts[name].astype(np.float32)[:, None]
            writer.add_tensor(name + _SUMS, np.ascontiguousarray(imatrix.sums[name]))
            writer.add_tensor(name + _COUNTS, counts)
            if name in imatrix.largest:
                largest = np.array([[imatrix.largest[name]]], np.float32)
                writer.add_tensor(name + _LARGEST, largest)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def read(path: Path) -> Imatrix:
    """Reads a file of ours or of llama.cpp's tools."""
    header = gguf.read(path)
    if header.text("general.type") != "imatrix":
        raise UsageError(
            f"{path.name} is no importance matrix, but a {header.text('general.type', 'model')}",
            "make one with `edgereason export calibrate`",
        )
    tensors = {tensor.name: _floats(path, tensor) for tensor in header.tensors}
    names = {name.removesuffix(_SUMS) for name in tensors if name.endswith(_SUMS)}
    if lonely := [name for name in names if name + _COUNTS not in tensors]:
        raise BundleError(f"{path.name} has no counts for {min(lonely)}")
    if not names:
        raise BundleError(f"{path.name} holds no importance of any weight")
    return Imatrix(
        sums={name: np.atleast_2d(tensors[name + _SUMS]) for name in names},
        counts={name: np.rint(tensors[name + _COUNTS]).astype(np.int64).ravel() for name in names},
        largest={
            name: float(tensors[name + _LARGEST].ravel()[0])
            for name in names
            if name + _LARGEST in tensors
        },
        datasets=tuple(header.items("imatrix.datasets")),
        num_chunks=header.integer("imatrix.chunk_count"),
        chunk_size=header.integer("imatrix.chunk_size"),
    )


def _floats(path: Path, tensor: gguf.Tensor) -> NDArray[np.float32]:
    if tensor.type != _F32:
        raise BundleError(f"{path.name} stores {tensor.name} in few bits; F32 is expected")
    flat = np.fromfile(path, "<f4", prod(tensor.shape), offset=tensor.offset)
    return flat.reshape(tensor.shape[::-1])
