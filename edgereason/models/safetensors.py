"""The table of a safetensors file, its numbers as float32, and small files written whole.

Ours, because every length is checked against the file before anything is allocated, NumPy has no
bfloat16, and the runtime needs no other package. Knows one file, not how shards make a model.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason import files
from edgereason.errors import BundleError, UnsupportedError

_MAX_HEADER: Final = 100 << 20  # the format's own limit
_MAX_DIMS: Final = 4
_FLOATS: Final = {"F32": 4, "F16": 2, "BF16": 2}
_WIDTHS: Final = {
    **_FLOATS,
    **{"F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1},
    **{"BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1},
}


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of one file."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int  # from the start of the file
    num_bytes: int

    def read(self) -> NDArray[np.float32]:
        """The numbers, as a copy. Raises `UnsupportedError` on a type that holds no weights."""
        check_dtype(self, self.path.name)
        raw = self.raw()
        if self.dtype == "BF16":
            wide = np.frombuffer(raw, np.uint16).astype(np.uint32)
            wide <<= 16
            return wide.view(np.float32).reshape(self.shape)
        kind = np.float32 if self.dtype == "F32" else np.float16
        return np.frombuffer(raw, kind).astype(np.float32).reshape(self.shape)

    def raw(self) -> bytes:
        """The numbers as they are stored."""
        with files.reading(self.path) as file:
            file.seek(self.offset)
            raw = file.read(self.num_bytes)
        if len(raw) != self.num_bytes:
            raise BundleError(f"{self.path.name} became shorter while it was read")
        return raw


def check_dtype(stored: Stored, name: str) -> None:
    if stored.dtype not in _FLOATS:
        raise UnsupportedError(
            f"{name} is stored as {stored.dtype}, which is not read",
            f"give weights in one of {', '.join(_FLOATS)}: the model before it was quantized",
        )


def read_table(path: Path) -> dict[str, Stored]:
    """The tensors of a file by name. Raises `BundleError` on anything that does not add up."""
    return read_file(path)[0]


def read_file(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """The tensors of a file by name, and its metadata."""
    header, start, size = _header(path)
    told = header.pop("__metadata__", None) or {}
    if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
        raise _damaged(path, "its metadata are not texts")
    found = {name: _stored(path, name, entry, start, size) for name, entry in header.items()}
    end, before = 0, ""
    for name, stored in sorted(found.items(), key=lambda pair: (pair[1].offset, pair[1].num_bytes)):
        if stored.offset < end:
            raise _damaged(path, f"tensor {name} lies over {before}")
        end, before = stored.offset + stored.num_bytes, name
    return found, told


def write_file(
    path: Path, tensors: Mapping[str, NDArray[np.float16]], metadata: Mapping[str, str]
) -> None:
    """Writes tensors in float16; the file is there whole or not at all."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, tensor in tensors.items():
        places = [offset, offset + tensor.nbytes]
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": places}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    unfinished = path.with_name(f".{path.name}.part")
    with files.writing(unfinished) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor, np.float16).tobytes())
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The JSON at the start, where the numbers begin, and the size of the file."""
    try:
        with files.reading(path) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else _MAX_HEADER + 1
            if length > min(_MAX_HEADER, size - 8):
                raise BundleError(
                    f"{path.name} is truncated or no safetensors file: it has {size:,} bytes, "
                    f"its header claims {length:,}",
                    "fetch the file again",
                )
            header = files.parse_json(file.read(length))
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise _damaged(path, f"its header is not JSON: {error}") from None
    return header, 8 + length, size


def _stored(path: Path, name: str, entry: Any, start: int, size: int) -> Stored:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise _damaged(path, f"tensor {name} lacks type, shape or place") from None
    numbers = (*shape, begin, end)
    if any(type(number) is not int or number < 0 for number in numbers) or len(shape) > _MAX_DIMS:
        raise _damaged(path, f"tensor {name} claims shape {shape} at {begin} to {end}")
    if dtype not in _WIDTHS:
        raise _damaged(path, f"tensor {name} has unknown type {dtype!r}")
    if prod(shape) * _WIDTHS[dtype] != end - begin:
        raise _damaged(path, f"tensor {name} of shape {shape} has {end - begin:,} bytes")
    if start + end > size:
        raise BundleError(
            f"{path.name} is truncated: tensor {name} needs bytes up to {start + end:,}, "
            f"the file has {size:,}",
            "fetch the file again",
        )
    return Stored(path, dtype, shape, start + begin, end - begin)


def _damaged(path: Path, what: str) -> BundleError:
    return BundleError(f"{path.name} is damaged: {what}", "fetch the file again")
