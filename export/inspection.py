"""The tensors of a file or folder: names, types, shapes, bytes. Reads no numbers, runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edgereason.errors import BundleError, ModelNotFoundError, UsageError
from edgereason.models import gguf
from edgereason.models.bundle import MANIFEST, open_bundle
from edgereason.models.hub import resolve
from edgereason.models.safetensors import read_table

from .offline import needs_extra
from .sources.base import pickled
from .sources.hugging_face import stored_tensors


@dataclass(frozen=True, slots=True)
class Found:
    name: str
    type: str
    shape: tuple[int, ...]
    num_bytes: int


def inspect(path: Path) -> list[Found]:
    """All tensors of what lies there, or of a model that was pulled by that name."""
    if not path.exists():
        path = resolve(str(path))
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            return list(_safetensors(stored_tensors(path)))
        bundle = open_bundle(path)
        path = path / next(
            (file.path for file in bundle.files if file.path.endswith((".onnx", ".gguf"))),
            bundle.files[0].path,
        )
    if path.suffix == ".gguf":
        return list(_gguf(path))
    if path.suffix == ".safetensors":
        return list(_safetensors(read_table(path)))
    if path.suffix == ".onnx":
        return list(_onnx(path))
    if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt"):
        raise pickled(path.name)
    raise UsageError(
        f"{path.name} is of no kind that can be inspected", "known: .gguf, .safetensors, .onnx"
    )


def _gguf(path: Path) -> Iterator[Found]:
    for tensor in gguf.read(path).tensors:
        kind = gguf.type_name(tensor.type)
        yield Found(tensor.name, kind, tensor.shape[::-1], tensor.num_bytes)


def _safetensors(tensors: dict[str, Any]) -> Iterator[Found]:
    for name, stored in tensors.items():
        yield Found(name, stored.dtype, stored.shape, stored.num_bytes)


def _onnx(path: Path) -> Iterator[Found]:
    with needs_extra():
        import onnx
    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise ModelNotFoundError(f"no such file: {path}") from None
    except Exception as error:  # protobuf has its own
        raise BundleError(f"{path.name} is no ONNX model: {error}", "export it again") from None
    for tensor in model.graph.initializer:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        bits = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4}.get(kind)
        if bits is None:
            bits = 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        shape = tuple(tensor.dims)
        yield Found(tensor.name, kind, shape, prod(shape) * bits // 8)
