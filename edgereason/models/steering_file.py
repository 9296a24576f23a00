"""A control vector: what is added to the residual stream behind each layer, in GGUF as repeng
writes it and llama.cpp reads it.

`general.architecture` is `controlvector`, `controlvector.model_hint` the architecture it was made
for, and tensor `direction.N`, float32 [num_embd], is added behind layer N. Layer 0 has none:
libllama adds nothing there. Knows no engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgereason.errors import BundleError, ModelNotFoundError, UsageError
from edgereason.models import gguf

ARCHITECTURE: Final = "controlvector"
_NAME: Final = re.compile(r"direction\.(\d+)")
_F32: Final = 0
_MOST_LAYERS: Final = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Steering:
    """`made_for`: the architecture, "" unknown. `rows`: [layers, num_embd], row N for layer N."""

    made_for: str
    rows: NDArray[np.float32]


def read_steering(path: Path) -> Steering:
    """Raises `BundleError` on a file that is none, or does not add up."""
    if not path.is_file():
        raise ModelNotFoundError(f"no such control vector: {path}")
    table = gguf.read(path)
    if table.architecture != ARCHITECTURE:
        raise BundleError(
            f"{path.name} is no control vector: its architecture is {table.architecture!r}",
            "make one with `edgereason export steer`",
        )
    found = {_layer(path, tensor): tensor for tensor in table.tensors}
    widths = {tensor.shape for tensor in found.values()}
    if not found or len(widths) != 1:
        raise BundleError(f"{path.name}: its directions must be of one size, got {sorted(widths)}")
    rows = np.zeros((max(found) + 1, widths.pop()[0]), np.float32)
    with path.open("rb") as file:
        for layer, tensor in found.items():
            file.seek(tensor.offset)
            rows[layer] = np.frombuffer(file.read(tensor.num_bytes), "<f4")
    if not np.isfinite(rows).all():
        raise BundleError(f"{path.name} holds what is no number")
    return Steering(table.text("controlvector.model_hint"), rows)


def _layer(path: Path, tensor: gguf.Tensor) -> int:
    named = _NAME.fullmatch(tensor.name)
    layer = int(named[1]) if named and len(named[1]) < 6 else 0
    if not 1 <= layer < _MOST_LAYERS or tensor.type != _F32 or len(tensor.shape) != 1:
        raise BundleError(
            f"{path.name}: {tensor.name} is no direction", "direction.N, from 1 on, float32"
        )
    return layer


def write_steering(path: Path, steering: Steering) -> None:
    """Rows that are all zero are left out. Needs the package `gguf`."""
    from gguf import GGUFWriter

    if not np.any(steering.rows[1:]):
        raise UsageError("a control vector of nothing but zeros steers nowhere")
    writer = GGUFWriter(path, ARCHITECTURE)
    writer.add_string(f"{ARCHITECTURE}.model_hint", steering.made_for)
    writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(steering.rows))
    rows: Mapping[int, NDArray[np.float32]] = dict(enumerate(steering.rows))
    for layer, row in rows.items():
        if layer and np.any(row):
            writer.add_tensor(f"direction.{layer}", np.ascontiguousarray(row, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


__all__ = ["ARCHITECTURE", "Steering", "read_steering", "write_steering"]
