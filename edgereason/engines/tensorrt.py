"""Engines that `edgereason export --to tensorrt` built, on the GPU they were built for.

The running side: `export/targets/tensorrt.py` builds. The graph runs in `tensorrt` or
`tensorrt_rtx`, whichever built it; where KV lies and moves is in `graph/device_executor.py`, which
is tested without a GPU. What touches the device (here and in `graph/cuda.py`) has run on no GPU
yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from edgereason import files
from edgereason.config import MOST, require_ranges
from edgereason.engines.base import ALL_CAPS, require_file
from edgereason.engines.graph.exported import (
    GraphInfo,
    Port,
    Sizes,
    check_memory,
    choose_context,
    make_engine,
    read_info,
    vocabulary,
)
from edgereason.engines.graph.trt_library import FULL, RTX, import_trt, make_logger, require_gpu
from edgereason.errors import (
    BundleError,
    EngineError,
    MemoryLimitError,
    UnsupportedError,
    UsageError,
)

if TYPE_CHECKING:
    from edgereason._core import Engine
    from edgereason.models.bundle import Bundle

caps = ALL_CAPS

FACTS: Final = "tensorrt.json"
_ENGINE: Final = ".engine"
_FORMAT: Final = 1
_AGAIN: Final = "export the model again on the device, or for its compute capability"


@dataclass(frozen=True, slots=True)
class Config:
    context: int = field(
        default=0,
        metadata={"help": "tokens, shared by all requests; 0: what the engine was built for"},
    )
    sequences: int = field(
        default=0, metadata={"help": "chains of thought side by side; 0: as it was built for"}
    )
    batch: int = field(
        default=0, metadata={"help": "tokens of one step at most; 0: as it was built for"}
    )
    memory_gib: float = field(
        default=0.0, metadata={"help": "GPU memory the model may take; 0: what is free"}
    )

    def __post_init__(self) -> None:
        require_ranges(
            self, context=(0, MOST), sequences=(0, 64), batch=(0, MOST), memory_gib=(0, MOST)
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What an engine was built for, and by what."""

    builder: str
    version: str
    form: str
    context: int
    batch: int
    chunk: int


def open(bundle: Bundle, config: Config) -> Engine:
    """Opens the bundle's engine."""
    from edgereason.models.bundle import model_file

    path = model_file(bundle)
    require_file(bundle, path, _ENGINE, ".onnx", engine="tensorrt", target="tensorrt")
    vocabulary(bundle)
    facts = read_facts(bundle.path / FACTS, path)
    require_gpu("the engine tensorrt")
    trt = import_trt(facts.builder)
    from edgereason.engines.graph.cuda import CudaDevice
    from edgereason.engines.graph.device_executor import DeviceExecutor

    device = CudaDevice()
    free_bytes = device.free_bytes()
    errors: list[str] = []
    engine = _deserialize(trt, path, facts, errors)
    info = _info(trt, engine, path, facts)
    sizes = choose_sizes(config, facts, info)
    limit = min(config.memory_gib * 2**30 or free_bytes, free_bytes)
    # Scratch of both contexts beside the weights, which are as large as their file.
    scratch = 2 * int(engine.device_memory_size_v2)
    check_memory(info, sizes, path.stat().st_size + scratch, limit)
    executor = DeviceExecutor(TrtGraph(engine, device.stream, errors), device, info, sizes)
    return make_engine(executor, info, sizes, bundle, f"{facts.builder} {trt.__version__}")


def read_facts(path: Path, model: Path) -> Facts:
    """Raises `UnsupportedError` where the bundle holds a graph that nobody has built yet."""
    try:
        data = files.read_json(path)
        facts = Facts(
            builder=str(data["builder"]),
            version=str(data.get("version", "")),
            form=str(data["form"]),
            **{name: int(data[name]) for name in ("context", "batch", "chunk")},
        )
        written = data.get("format")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(f"cannot read {path}: {error!r}", "export the model again") from None
    if written != _FORMAT:
        raise BundleError(f"{path} has format {written!r}, this version reads {_FORMAT}", _AGAIN)
    if model.suffix != _ENGINE or facts.builder not in (FULL, RTX):
        raise UnsupportedError(
            f"{model} is a graph that no TensorRT has built for a device yet", _AGAIN
        )
    if min(facts.context, facts.batch, facts.chunk) < 1:
        raise BundleError(f"{path} is damaged: its sizes must be 1 or more", _AGAIN)
    return facts


def choose_sizes(config: Config, facts: Facts, info: GraphInfo) -> Sizes:
    """An engine takes what it was built for, or less. Form B has one context only."""
    for name, most in (("sequences", facts.batch), ("batch", facts.chunk)):
        if getattr(config, name) > most:
            raise UsageError(
                f"{name} must be at most {most}, which the engine was built for, "
                f"got {getattr(config, name)}",
                "export it again with --set batch= or --set chunk=",
            )
    context = choose_context(config.context or facts.context, info)
    if facts.form == "B" and context != facts.context:
        raise UsageError(
            f"context must be {facts.context}, which the engine was built for, got {context}",
            "leave it out, or export the model again with --set context=",
        )
    return Sizes(context, config.sequences or facts.batch, config.batch or facts.chunk)


class TrtGraph:
    """A deserialized engine: one context reads prompts, the other writes tokens.

    They are the two profiles that `export/targets/tensorrt.py` builds, in that order.
    """

    def __init__(self, engine: Any, stream: int, errors: list[str]) -> None:
        self._stream = stream
        self._errors = errors
        self._contexts = []
        for profile in range(2):
            context = engine.create_execution_context()
            if context is None or not context.set_optimization_profile_async(profile, stream):
                raise MemoryLimitError(
                    f"TensorRT cannot make room to run: {_reasons(errors)}",
                    "free memory on the GPU, or take a smaller context",
                )
            self._contexts.append(context)

    def run(self, tensors: Mapping[str, tuple[int, tuple[int, ...]]]) -> None:
        writes = tensors["input_ids"][1][1] == 1
        context = self._contexts[writes]
        for name, (address, shape) in tensors.items():
            is_output = name in ("logits", "hidden_states") or name.startswith("present.")
            taken = is_output or context.set_input_shape(name, shape)
            if not taken or not context.set_tensor_address(name, address):
                raise EngineError(f"TensorRT refuses {name} {shape}: {_reasons(self._errors)}")
        if not context.execute_async_v3(self._stream):
            raise EngineError(f"TensorRT failed: {_reasons(self._errors)}")


def _reasons(errors: list[str]) -> str:
    return "; ".join(errors[-3:]) or "it gave no reason"


def _deserialize(trt: ModuleType, path: Path, facts: Facts, errors: list[str]) -> Any:
    runtime = trt.Runtime(make_logger(trt, errors))
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise BundleError(
            f"{facts.builder} {trt.__version__} does not take {path}, which {facts.version} "
            f"built: {_reasons(errors)}",
            _AGAIN,
        )
    return engine


def _info(trt: ModuleType, engine: Any, path: Path, facts: Facts) -> GraphInfo:
    """What the engine says of its inputs and outputs, as of any decoder graph."""
    inputs: dict[str, Port] = {}
    outputs: dict[str, Port] = {}
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        shape = tuple(None if width < 0 else width for width in engine.get_tensor_shape(name))
        dtype = {trt.DataType.HALF: "float16", trt.DataType.FLOAT: "float32"}.get(
            engine.get_tensor_dtype(name), "other"
        )
        (inputs if is_input else outputs)[name] = Port(dtype, shape)
    said = {"format": "1", "kind": facts.form, "context": str(facts.context)}
    metadata = {f"edgereason.{key}": value for key, value in said.items()}
    return read_info(path, metadata, inputs, outputs)
