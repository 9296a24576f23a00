"""The engine `tensorrt` without a GPU: the same graph and the same executor, on ONNX Runtime and
the memory of the host. What remains untried is what touches the device."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgereason.engines import tensorrt
from edgereason.engines.base import ALL_CAPS
from edgereason.engines.graph.device_executor import DeviceExecutor, Place
from edgereason.engines.graph.exported import (
    GraphInfo,
    Sizes,
    choose_context,
    make_engine,
    read_info,
)
from edgereason.engines.graph.ort_executors import ports
from edgereason.models.bundle import Bundle, model_file, write_bundle


class HostDevice:
    """Device memory that is the host's. Reads and writes outside of it are caught."""

    def __init__(self) -> None:
        self.blocks: dict[int, np.ndarray] = {}

    def enter(self) -> None:
        pass

    def allocate(self, num_bytes: int) -> int:
        block = np.zeros(num_bytes, np.uint8)
        self.blocks[block.ctypes.data] = block
        return int(block.ctypes.data)

    def release(self, address: int) -> None:
        del self.blocks[address]

    def copy(self, to: Place, of: Place, width: int, height: int = 1) -> None:
        for place in (to, of):
            assert height == 1 or place.pitch == 0 or place.pitch >= width
            if not place.on_host:
                self.check(place.address, (place.pitch or width) * (height - 1) + width)
        for row in range(height):
            source = of.address + row * (of.pitch or width)
            ctypes.memmove(to.address + row * (to.pitch or width), source, width)

    def synchronize(self) -> None:
        pass

    def check(self, address: int, num_bytes: int) -> None:
        inside = any(
            start <= address and address + num_bytes <= start + len(block)
            for start, block in self.blocks.items()
        )
        assert inside, "outside of what was allocated"


class OrtGraph:
    """Runs on addresses as TensorRT does: all inputs are read before an output is written."""

    def __init__(self, session: Any, device: HostDevice, info: GraphInfo) -> None:
        self._session, self._device, self._info = session, device, info

    def run(self, tensors: Mapping[str, tuple[int, tuple[int, ...]]]) -> None:
        arrays = {name: self._array(name, *where) for name, where in tensors.items()}
        feed = {each.name: arrays[each.name].copy() for each in self._session.get_inputs()}
        names = [each.name for each in self._session.get_outputs()]
        for name, found in zip(names, self._session.run(names, feed), strict=True):
            assert found.shape == arrays[name].shape, name
            arrays[name][:] = found

    def _array(self, name: str, address: int, shape: tuple[int, ...]) -> np.ndarray:
        kinds = {"input_ids": np.int64, "past_lengths": np.int32, "output_rows": np.int64}
        is_cache = name.startswith(("past_key_values", "present"))
        dtype = np.dtype(self._info.kv_dtype if is_cache else kinds.get(name, np.float32))
        num_bytes = int(np.prod(shape)) * dtype.itemsize
        self._device.check(address, num_bytes)
        raw = (ctypes.c_ubyte * num_bytes).from_address(address)
        return np.frombuffer(raw, dtype).reshape(shape)


@dataclass(frozen=True, slots=True)
class Config:
    context: int = 0
    sequences: int = 8
    batch: int = 64


@cache
def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _info(path: Path) -> GraphInfo:
    session = _session(path)
    metadata = session.get_modelmeta().custom_metadata_map
    return read_info(path, metadata, ports(session.get_inputs()), ports(session.get_outputs()))


def executor(path: Path, sizes: Sizes) -> tuple[DeviceExecutor, GraphInfo]:
    info, device = _info(path), HostDevice()
    return DeviceExecutor(OrtGraph(_session(path), device, info), device, info, sizes), info


def open_twin(bundle: Bundle, config: Config) -> Any:
    context = choose_context(config.context, _info(model_file(bundle)))
    sizes = Sizes(context, config.sequences, config.batch)
    pooled, info = executor(model_file(bundle), sizes)
    return make_engine(pooled, info, sizes, bundle, "twin")


@contextmanager
def in_its_place() -> Iterator[None]:
    """Whatever opens a bundle for TensorRT gets the twin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorrt, "open", open_twin)
        patch.setattr(tensorrt, "Config", Config)
        yield


def module() -> ModuleType:
    """What the contract suite takes for the module of an engine."""
    made = ModuleType("tensorrt_twin")
    made.__dict__.update(caps=ALL_CAPS, Config=Config, open=open_twin)
    return made


def export(model: Path, folder: Path, form: Any, context: int = 256) -> Path:
    """A bundle that holds the graph which TensorRT would be given, of a GGUF."""
    from edgereason.export.sources.open import open_source
    from edgereason.export.targets import tensorrt as target

    folder.mkdir()
    config = target.Config(form=form, context=context, graph_only=True)
    with open_source(model) as source:
        bundle = target.write(source, folder, target.check(source, config), lambda *_: None)
    assert json.loads((folder / "tensorrt.json").read_text())["form"] == form
    write_bundle(bundle, folder)
    return folder
