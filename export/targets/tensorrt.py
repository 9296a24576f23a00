"""TensorRT, the building side: a strongly typed graph, and the engine that is built from it.

`tensorrt` builds on the device it is for, `tensorrt_rtx` ahead of time for devices that are named.
The two forms of the graph are those of `export/graph/trt_dialects.py`. Knows no device: nothing
runs here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any, Final, Literal

from edgereason.config import MOST, require_ranges
from edgereason.engines.graph.trt_library import FULL, INSTALL, RTX, find_builder, num_gpus
from edgereason.errors import UnsupportedError, UsageError
from edgereason.models.bundle import Bundle

from ..graph.builder import Graph
from ..graph.decoder import write_decoder
from ..graph.trt_dialects import DIALECTS, Form, opset_of
from ..metadata import describe, write_vocabulary
from ..offline import Progress, whole
from ..sources.base import Architecture, Source
from ..target import Plan
from ..trt import build as trt
from ..weights import imatrix
from ..weights.for_tensorrt import CODES, Weights, block_of

ENGINE: Final = "model.engine"
GRAPH: Final = "model.onnx"
FACTS: Final = "tensorrt.json"
CACHE: Final = "timing.cache"
VOCABULARY: Final = "vocab.gguf"
FORMAT: Final = 1

_CONTEXT: Final = 4096  # where none is asked for and the model would take more
_ATTENTION: Final = (10, 16)  # the first `tensorrt` with the operators of form B
_LEAST_HEAD: Final = 16  # numbers of a head that its attention has kernels for
_BYTES: Final = {"fp16": 2, "bf16": 2, "fp8": 1, "int8": 1, "int4": 0.5 + 2 / 64}

# Measured while building on a CPU: docs/tensorrt.md.
_IMPORTS_BYTES: Final = 250 << 20
_ENGINE_BYTES: Final = 8 << 20
_ENGINE_FACTOR: Final = {True: 1.45, False: 1.1}  # codes are kept in more than one layout
_BUILD_BYTES: Final = 600 << 20
_BUILD_FACTOR: Final = 5
_BUILD_SECONDS: Final = 1.2  # for each layer and capability
_GRAPH_BYTES_PER_SECOND: Final = 50e6


@dataclass(frozen=True, slots=True)
class Config:
    quant: Literal["fp16", "bf16", "fp8", "int8", "int4"] = field(
        default="fp16", metadata={"help": "numbers of the weights; the cache is float16"}
    )
    form: Literal["auto", "A", "B"] = field(
        default="auto",
        metadata={
            "help": "A: TensorRT 10.3 and later (JetPack 6); B: 10.16 and later, TensorRT-RTX"
        },
    )
    capability: tuple[str, ...] = field(
        default=(),
        metadata={"help": "compute capabilities to build for ahead of time, as in 8.6,12.0"},
    )
    context: int = field(
        default=0, metadata={"help": "tokens of a sequence; 0: what the model has, to 4096"}
    )
    batch: int = field(default=8, metadata={"help": "sequences side by side in a step"})
    chunk: int = field(default=512, metadata={"help": "tokens of a prompt that are read at once"})
    workspace_gib: float = field(
        default=0.0, metadata={"help": "scratch memory of the engine; 0: as TensorRT likes"}
    )
    imatrix: Path | None = field(
        default=None,
        metadata={"help": "importance matrix of `export calibrate`: int4 fits to it"},
    )
    activations: bool = field(
        default=False,
        metadata={"help": "int8 and fp8: round activations too, by the ranges in the imatrix"},
    )
    graph_only: bool = field(
        default=False, metadata={"help": "write the ONNX graph and leave building to the device"}
    )

    def __post_init__(self) -> None:
        require_ranges(
            self, context=(0, MOST), batch=(1, 64), chunk=(1, MOST), workspace_gib=(0, MOST)
        )
        if self.activations and self.quant not in ("int8", "fp8"):
            raise UsageError(f"activations are rounded with int8 and fp8, not with {self.quant}")
        if self.activations and self.imatrix is None:
            raise UsageError(
                "to round activations their ranges must be known",
                "make them with `edgereason export calibrate` and name the file as --imatrix",
            )


@dataclass(frozen=True, slots=True)
class Shape:
    """What an engine is built for, and must know before it runs."""

    form: Form
    context: int
    batch: int
    chunk: int


@dataclass(frozen=True, slots=True)
class Choices:
    """What `write` works by. `builder` is "" where the graph alone is written."""

    builder: str
    shape: Shape
    weights: Weights
    capabilities: tuple[str, ...] = ()
    workspace_bytes: int = 0

    @property
    def graph_only(self) -> bool:
        return not self.builder

    def files(self) -> tuple[str, ...]:
        model = (GRAPH, f"{GRAPH}.data") if self.graph_only else (ENGINE,)
        return (*model, VOCABULARY, FACTS, *((CACHE,) if self.builder == FULL else ()))


def check(source: Source, config: Config) -> Plan:
    """What it will take; raises what cannot be. Memory and time are estimates of builds on a CPU
    (docs/tensorrt.md has the measurements)."""
    arch = source.architecture
    choices = _choices(source, config)
    notes = tuple(_notes(arch, config, choices))
    weights, largest = _sizes(source, config.quant)
    files = {name: 1 << 10 for name in choices.files()}
    files[VOCABULARY] = 4 << 20
    graph_memory = _IMPORTS_BYTES + 5 * largest
    seconds = weights / _GRAPH_BYTES_PER_SECOND
    if config.graph_only:
        files |= {GRAPH: 1 << 20, f"{GRAPH}.data": weights}
        return Plan(files, graph_memory, seconds, notes=notes, choices=choices)
    files[ENGINE] = _ENGINE_BYTES + int(_ENGINE_FACTOR[config.quant in CODES] * weights)
    return Plan(
        files,
        memory_bytes=max(graph_memory, _BUILD_BYTES + _BUILD_FACTOR * weights),
        seconds=seconds + _BUILD_SECONDS * arch.num_layers * max(1, len(config.capability)),
        scratch_bytes=weights,
        notes=notes,
        choices=choices,
    )


def write(source: Source, out: Path, plan: Plan, progress: Progress) -> Bundle:
    """The engine, or the graph alone; the vocabulary; the facts that the engine reads first."""
    choices: Choices = plan.choices
    shape, weights = choices.shape, choices.weights
    write_vocabulary(source, out / VOCABULARY)
    facts: dict[str, Any] = {"format": FORMAT, **asdict(shape), "builder": choices.builder}
    if choices.graph_only:
        write_graph(source, out, shape, weights, progress)
    elif not (out / FACTS).is_file():  # the last file of a build: with it all is done
        folder = out / ".graph"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_graph(source, folder, shape, weights, progress)
        progress("building with TensorRT", 0, 1)
        report = trt.build(request(source.architecture, folder, out, choices))
        progress("building with TensorRT", 1, 1)
        shutil.rmtree(folder)
        facts |= {"version": report.version, "capabilities": list(choices.capabilities)}
    if not (out / FACTS).is_file():
        with whole(out / FACTS) as unfinished:
            unfinished.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    files = [name for name in choices.files() if name != CACHE or (out / CACHE).is_file()]
    quantization = weights.format.upper()
    bundle = describe(source, out / VOCABULARY, "tensorrt", *files, quantization=quantization)
    kv_bytes = {"f16": bundle.kv_bytes_per_token.get("f16", 0)}
    return replace(bundle, context=shape.context, kv_bytes_per_token=kv_bytes)


def write_graph(
    source: Source, folder: Path, shape: Shape, weights: Weights, progress: Progress
) -> Path:
    """Writes `model.onnx` and its data into a folder that has none."""
    progress("writing the graph", 0, 1)
    opset, ir_version = opset_of(shape.form, weights)
    with Graph(folder / GRAPH, opset=opset, ir_version=ir_version) as graph:
        dialect = DIALECTS[shape.form](graph, source, context=shape.context, weights=weights)
        write_decoder(dialect, context=shape.context)
    progress("writing the graph", 1, 1)
    return folder / GRAPH


def request(arch: Architecture, folder: Path, out: Path, choices: Choices) -> trt.Request:
    inputs, outputs = ports(arch, choices.shape)
    return trt.Request(
        builder=choices.builder,
        graph=folder / GRAPH,
        engine=out / ENGINE,
        cache=out / CACHE,
        inputs=inputs,
        outputs=outputs,
        profiles=profiles(choices.shape),
        capabilities=choices.capabilities,
        workspace_bytes=choices.workspace_bytes,
    )


def ports(arch: Architecture, shape: Shape) -> tuple[tuple[trt.Port, ...], tuple[trt.Port, ...]]:
    """Inputs and outputs of an engine, as docs/tensorrt.md names them."""
    rows = ("past", "total") if shape.form == "A" else (shape.context,) * 2

    def cache(name: str, num: int | str) -> tuple[trt.Port, ...]:
        size = ("batch", arch.num_kv_heads, num, arch.head_dim)
        return tuple(
            trt.Port(f"{name}.{layer}.{part}", "float16", size)
            for layer in range(arch.num_layers)
            for part in ("key", "value")
        )

    inputs = (
        trt.Port("input_ids", "int64", ("batch", "length")),
        trt.Port("inputs_embeds", "float32", ("batch", "length", arch.num_embd)),
        trt.Port("past_lengths", "int32", ("batch",)),
        trt.Port("output_rows", "int64", ("num_outputs",)),
        *cache("past_key_values", rows[0]),
    )
    outputs = (
        trt.Port("logits", "float32", ("num_outputs", arch.num_vocab)),
        trt.Port("hidden_states", "float32", ("num_outputs", arch.num_embd)),
        *cache("present", rows[1]),
    )
    return inputs, outputs


def profiles(shape: Shape) -> tuple[trt.Profile, ...]:
    """Reading a prompt, one sequence at a time; then one token for each of several sequences."""
    usual = max(1, shape.context // 4)
    past = (1, usual, shape.context)  # an engine gives at least one row, which may be garbage
    reading = {
        "batch": (1, 1, 1),
        "length": (1, max(1, shape.chunk // 2), shape.chunk),
        "num_outputs": (1, 1, shape.chunk),
        "past": past,
    }
    writing = {
        "batch": (1, min(4, shape.batch), shape.batch),
        "length": (1, 1, 1),
        "num_outputs": (1, min(4, shape.batch), shape.batch),
        "past": past,
    }
    return reading, writing


# --- what is possible -----------------------------------------------------------------------------


def _choices(source: Source, config: Config) -> Choices:
    arch = source.architecture
    builder = "" if config.graph_only else _builder(config)
    form = _form(arch, config, builder)
    context = config.context or min(arch.context, _CONTEXT)
    if context > arch.context:
        raise UsageError(f"context is {context}, the model has {arch.context}")
    return Choices(
        builder,
        Shape(form, context, config.batch, min(config.chunk, context)),
        _weights(source, config),
        config.capability,
        int(config.workspace_gib * 2**30),
    )


def _notes(arch: Architecture, config: Config, choices: Choices) -> Iterator[str]:
    yield _about(choices)
    odd = [width for width in _widths(arch) if config.quant == "int4" and not block_of(width)]
    if odd:
        yield f"weights with {odd[0]} inputs are INT8: no block of INT4 divides that"
    if config.quant in ("fp16", "int8", "int4", "fp8") and arch.name == "gemma3":
        yield "gemma3 was trained in bfloat16; if float16 overflows, take --quant bf16"


def _weights(source: Source, config: Config) -> Weights:
    """How weights are stored, with what was found out about their inputs."""
    if config.imatrix is None:
        return Weights(config.quant)
    known = imatrix.read(config.imatrix)
    names = [name for name in known.sums if name in source.names()]
    if not names:
        raise UsageError(f"{config.imatrix} is of another model: it has none of its tensors")
    importance = {name: known.importance(name) for name in names}
    ranges = {name: known.largest[name] for name in names if name in known.largest}
    if config.activations and not ranges:
        raise UsageError(
            f"{config.imatrix} has no ranges of activations",
            "make it with `edgereason export calibrate`",
        )
    return Weights(
        config.quant,
        ranges if config.activations else {},
        {name: found[0] for name, found in importance.items() if found is not None},
    )


def _builder(config: Config) -> str:
    builder = find_builder()
    if not builder:
        raise UnsupportedError(
            "no TensorRT that can build is installed here",
            f"{INSTALL}; or --set graph_only=true writes the graph for a builder elsewhere",
        )
    if builder == FULL and config.capability:
        raise UsageError(
            "tensorrt builds for the GPU of this machine only, not for "
            f"{', '.join(config.capability)}",
            "leave capability out, or build with tensorrt_rtx on a machine without a GPU",
        )
    for capability in config.capability:
        if capability not in trt.CAPABILITIES:
            raise UnsupportedError(
                f"tensorrt_rtx does not build for compute capability {capability!r}",
                f"it does for {', '.join(trt.CAPABILITIES)}; on other devices build with tensorrt",
            )
        if float(capability) < trt.NEEDS[config.quant]:
            raise UnsupportedError(
                f"{config.quant} needs compute capability {trt.NEEDS[config.quant]} or newer, "
                f"not {capability}",
                f"{capability} takes {trt.supported(capability)}",
            )
    if builder == RTX and not config.capability and not num_gpus():
        raise UsageError(
            "this machine has no GPU to build for",
            "name the compute capability of the device, as in --set capability=8.6",
        )
    return builder


def _form(arch: Architecture, config: Config, builder: str) -> Form:
    can_attend = arch.head_dim >= _LEAST_HEAD
    if config.form == "B" and not can_attend:
        raise UnsupportedError(
            f"form B has no attention for heads of {arch.head_dim} numbers", "take --set form=A"
        )
    if config.form != "auto":
        return config.form
    if builder == RTX:
        return "B" if can_attend else "A"
    # Where the graph is built elsewhere, the form that all versions take.
    return "B" if builder == FULL and can_attend and _version() >= _ATTENTION else "A"


def _version() -> tuple[int, ...]:
    try:
        found = metadata.version(FULL)
    except metadata.PackageNotFoundError:
        return (0,)
    return tuple(int(part) for part in found.split(".")[:2] if part.isdigit())


def _about(choices: Choices) -> str:
    form = choices.shape.form
    if choices.graph_only:
        return f"form {form}, the graph only: nothing runs it before it is built"
    where = ", ".join(choices.capabilities) or "the GPU of this machine"
    return f"form {form}, built with {choices.builder} for {where}; other devices refuse the engine"


def _widths(arch: Architecture) -> set[int]:
    return {arch.num_embd, arch.num_ff, arch.num_heads * arch.head_dim}


def _sizes(source: Source, quant: str) -> tuple[int, int]:
    """Bytes of all weights as they are written, and of the largest tensor in float32."""
    total, largest = 0.0, 0
    for name in source.names():
        num = prod(source.shape(name))
        largest = max(largest, 4 * num)
        if len(source.shape(name)) < 2:
            total += 4 * num
        elif name == "token_embd.weight":
            tied = source.architecture.tied and quant in CODES
            total += 2 * num + (num if tied else 0)
        elif name == "output.weight":
            total += num * (1 if quant in CODES else 2)
        else:
            total += num * _BYTES[quant]
    return int(total), largest
