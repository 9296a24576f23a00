"""ONNX for onnxruntime, the writing side: float32, or weights in blocks of few bits.

The graph is built here, tensor by tensor; see docs/onnx.md for its inputs and outputs. Knows no
TensorRT, which takes none of the operators that make onnxruntime fast.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.config import unknown
from edgereason.errors import UsageError
from edgereason.models.bundle import Bundle

from ..metadata import describe, write_vocabulary
from ..offline import Progress
from ..sources.base import Source
from ..target import Plan
from ..weights.blocks import Blocks, quantize

if TYPE_CHECKING:
    from ..weights.imatrix import Imatrix

MODEL: Final = "model.onnx"
DATA: Final = "model.onnx.data"
VOCABULARY: Final = "vocab.gguf"

QUANTS: Final = ("f32", "int8", "int4_mixed", "int4")
_BLOCK: Final = 32  # weights that share a scale; onnxruntime is fastest with it
_MOST_CONTEXT: Final = 32768  # tables of positions take 8 * head_dim / 2 bytes a token
_UNFINISHED: Final = ".onnx"

# Seconds per million weights on one core of an x86-64 with AVX-512.
_SECONDS: Final = {"f32": 0.035, "int8": 0.05, "int4_mixed": 0.09, "int4": 0.1}
_NODE_BYTES: Final = 20_000  # of model.onnx, a layer


@dataclass(frozen=True, slots=True)
class Config:
    quant: str = field(default="int8", metadata={"help": "f32, int8, int4_mixed or int4"})
    imatrix: Path | None = field(
        default=None,
        metadata={"help": "importance matrix for int4, a GGUF as llama.cpp's tools write it"},
    )
    context: int = field(
        default=0, metadata={"help": "tokens; 0: what the model allows, 32768 at most"}
    )

    def __post_init__(self) -> None:
        if self.quant not in QUANTS:
            raise unknown("no ONNX format called", self.quant, QUANTS)
        if self.imatrix is not None and not self.quant.startswith("int4"):
            raise UsageError(
                f"{self.quant} loses nothing that an importance matrix could save",
                "leave --imatrix out, or take int4",
            )
        if self.context < 0:
            raise UsageError(f"context must be 0 or more, got {self.context}")


@dataclass(frozen=True, slots=True)
class _Choices:
    """What `write` works by. `context` of the graph; `imatrix` None where nothing is known."""

    quant: str
    context: int
    imatrix: Imatrix | None


def check(source: Source, config: Config) -> Plan:
    """What it will take. Raises what the graph cannot hold."""
    choices = _Choices(config.quant, _context(source, config), _importance(source, config))
    arch = source.architecture
    shapes = {name: source.shape(name) for name in source.names()}
    tables = (2 if arch.local_rope_theta else 1) * (arch.rope_theta > 0)
    data = sum(_num_bytes(name, source, config.quant) for name in shapes)
    data += 4 * tables * choices.context * arch.head_dim
    largest = max(4 * prod(shape) for shape in shapes.values())
    return Plan(
        files={
            MODEL: _NODE_BYTES * arch.num_layers,
            DATA: data,
            VOCABULARY: 40 * arch.num_vocab,
        },
        memory_bytes=3 * largest,
        seconds=source.num_parameters / 1e6 * _SECONDS[config.quant],
        notes=tuple(_notes(source, choices)),
        choices=choices,
    )


def write(source: Source, out: Path, plan: Plan, progress: Progress) -> Bundle:
    """Writes the graph, its weights and `vocab.gguf`; what is there in `out` is finished."""
    choices: _Choices = plan.choices
    if not (out / VOCABULARY).exists():
        write_vocabulary(source, out / VOCABULARY)
    if not (out / MODEL).exists():
        _write_graph(source, out, choices, progress)
    bundle = describe(
        source,
        out / VOCABULARY,
        "onnxruntime",
        MODEL,
        DATA,
        VOCABULARY,
        quantization=choices.quant.upper(),
    )
    return replace(bundle, context=choices.context)


def _write_graph(source: Source, out: Path, choices: _Choices, progress: Progress) -> None:
    import onnx

    from ..graph.builder import Graph
    from ..graph.decoder import write_decoder
    from ..graph.ort_dialect import OPSET, OrtDialect

    folder = out / _UNFINISHED
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with Graph(folder / MODEL, opset=OPSET) as graph:
        quantizer = _quantizer(source, choices, progress)
        dialect = OrtDialect(graph, source, context=choices.context, quantize=quantizer)
        write_decoder(dialect, choices.context)
    onnx.checker.check_model(str(folder / MODEL), full_check=True)
    for name in (DATA, MODEL):  # the model last: where it is, all is there
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())
        os.replace(folder / name, out / name)
    folder.rmdir()


# --- quantization ---------------------------------------------------------------------------------


def _bits(name: str, source: Source, quant: str) -> int:
    """32: as it is. What harms a model most keeps 8 bits; docs/log.md has the figures."""
    shape = source.shape(name)
    if quant == "f32" or len(shape) < 2 or name == "position_embd.weight" or shape[1] % _BLOCK:
        return 32
    head = "token_embd.weight" if source.architecture.tied else "output.weight"
    tender = [head, ".attn_q", ".attn_k.", ".attn_v."]  # ".attn_q" is gpt2's attn_qkv as well
    if quant == "int4_mixed":
        tender.append(".ffn_down.")
    return 8 if quant == "int8" or any(part in name for part in tender) else 4


def _num_bytes(name: str, source: Source, quant: str) -> int:
    num, bits = prod(source.shape(name)), _bits(name, source, quant)
    scales = {32: 0.0, 8: 4.0, 4: 4.5}[bits]  # float32, and at 4 bits a zero
    return round(num * (bits / 8 + scales / _BLOCK))


def _quantizer(
    source: Source, choices: _Choices, progress: Progress
) -> Callable[[str, NDArray[np.float32]], Blocks | None]:
    """What the dialect asks for each weight; also tells the progress."""
    total = sum(prod(source.shape(name)) for name in source.names())
    done = 0

    def blocks(name: str, weight: NDArray[np.float32]) -> Blocks | None:
        nonlocal done
        done += weight.size
        progress(f"writing {choices.quant}", done, total)
        bits = _bits(name, source, choices.quant)
        if bits == 32:
            return None
        known = choices.imatrix.importance(name) if choices.imatrix else None
        return quantize(
            weight,
            bits=bits,
            block=_BLOCK,
            symmetric=bits == 8,
            importance=None if known is None else known[0],
        )

    return blocks


def _importance(source: Source, config: Config) -> Imatrix | None:
    if config.imatrix is None:
        return None
    from ..weights.imatrix import read

    found = read(config.imatrix)
    for name in found.sums:
        if name in source.names() and found.sums[name].shape != (1, source.shape(name)[1]):
            raise UsageError(
                f"{config.imatrix.name} is of another model: its {name} has "
                f"{found.sums[name].shape[1]} columns, this model's {source.shape(name)[1]}"
            )
    if not any(name in found.sums for name in source.names()):
        raise UsageError(f"{config.imatrix.name} is of another model: it names no weight of this")
    return found


def _context(source: Source, config: Config) -> int:
    most = source.architecture.context
    if config.context > most:
        raise UsageError(f"context must be {most} or less for {source.name}, got {config.context}")
    return config.context or min(most, _MOST_CONTEXT)


def _notes(source: Source, choices: _Choices) -> Iterator[str]:
    if source.quantization not in ("F32", "F16", "BF16"):
        yield f"the source is {source.quantization}: what it lost does not come back"
    if not source.chat_template:
        yield "the source has no chat template: it is asked with plain text"
    most = source.architecture.context
    if choices.context < most:
        yield f"the graph is made for {choices.context} tokens, the model allows {most}"
    odd = [
        name
        for name in source.names()
        if len(source.shape(name)) > 1 and source.shape(name)[1] % _BLOCK
    ]
    if odd and choices.quant != "f32":
        yield f"{len(odd)} weights stay f32: their rows are no multiple of {_BLOCK}"
