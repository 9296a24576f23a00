"""GGUF for llama.cpp and the engine `llamacpp`, the writing side.

f32, f16, bf16, q8_0 and q4_0_mixed are written here, tensor by tensor; every other format by
libllama's quantizer from a file that loses nothing of the source. Knows no graph.

q4_0_mixed is Q4_0 where a model bears it best, half of its weights, and Q8_0 elsewhere: CPUs
multiply both as they are stored, and docs/log.md has what each kind of weight loses by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.config import unknown
from edgereason.errors import BundleError, UnsupportedError, UsageError
from edgereason.models import gguf
from edgereason.models.bundle import Bundle

from ..metadata import describe, gguf_metadata, open_writer
from ..offline import Progress, whole
from ..sources.base import PERMUTED, Source, pairs
from ..target import Plan
from ..weights import blocks

MODEL: Final = "model.gguf"
_EXACT: Final = "unquantized.gguf"  # what libllama quantizes

# Of experts only, or of models that were trained in them.
_NOT_OURS: Final = ("TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0")
FILE_TYPES: Final = {
    name.lower(): number for number, name in gguf.QUANTIZATIONS.items() if name not in _NOT_OURS
}
FILE_TYPES["q4_0_mixed"] = FILE_TYPES["q4_0"]
_WRITTEN: Final = ("f32", "f16", "bf16", "q8_0", "q4_0_mixed")
_ROUNDED: Final = _WRITTEN[:-1]  # each weight by itself
_BEAR_Q4_0: Final = re.compile(r"blk\.(\d+)\.ffn_(gate|up)\.weight")
_TENDER_LAYERS: Final = 8  # the first and the last of so many parts bear less
_NEEDS_IMATRIX: Final = ("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "q2_k_s")

_BITS: Final = {"F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q4_0": 4.5}
# Bits of a weight by the first part of a format's name, about: mixes take more for some layers.
_MIXED_BITS: Final = {
    **{"q4_0": 4.5, "q4_1": 5.0, "q5_0": 5.5, "q5_1": 6.0, "q2_k": 3.0, "q3_k": 3.9, "q4_k": 4.8},
    **{"q5_k": 5.7, "q6_k": 6.6, "iq1": 2.0, "iq2": 2.6, "iq3": 3.6, "iq4": 4.5},
}
_K_ROW: Final = 256  # rows of other lengths fall back to formats of 32, which are larger
_FALLBACK_BITS: Final = {"q4_k": 5.5, "q5_k": 6.0, "q6_k": 8.5}
_EMBEDDING_BITS: Final = 6.6
_FACTORS: Final = "rope_freqs.weight"
_F16_MOST: Final = 65504.0

# Seconds per million weights on one core of an x86-64 with AVX-512, and in libllama's quantizer.
_WRITE_S: Final = 0.025
_QUANTIZE_S: Final = {"q": 0.1, "i": 1.2}


@dataclass(frozen=True, slots=True)
class Config:
    quant: str = field(
        default="q4_k_m",
        metadata={"help": "f32, f16, bf16, q8_0, q4_0_mixed, q4_0, q4_k_m, iq4_xs, ..."},
    )
    imatrix: Path | None = field(
        default=None, metadata={"help": "importance matrix, a GGUF as llama.cpp's tools write it"}
    )
    threads: int = field(default=0, metadata={"help": "of the quantizer; 0: all cores"})

    def __post_init__(self) -> None:
        if self.quant not in FILE_TYPES:
            raise unknown("no GGUF format called", self.quant, FILE_TYPES)
        if self.imatrix is not None and self.quant in _ROUNDED:
            raise UsageError(
                f"{self.quant} rounds each weight by itself and uses no importance matrix",
                "leave --imatrix out, or take a format such as q4_k_m",
            )
        if self.quant in _NEEDS_IMATRIX and self.imatrix is None:
            raise UsageError(
                f"{self.quant} needs an importance matrix",
                "give one: --imatrix FILE, of edgereason export calibrate",
            )


def check(source: Source, config: Config) -> Plan:
    """What it will take. Raises what llama.cpp cannot hold."""
    _check_shape(source)
    if config.imatrix is not None:
        from ..weights.imatrix import read

        read(config.imatrix)
    weights = source.num_parameters / 1e6
    largest = max(4 * prod(shape) for shape in _shapes(source).values())
    notes = tuple(_notes(source, config))
    header = 40 * source.architecture.num_vocab
    num_bytes = header + _estimate(source, config.quant)
    written = Plan(
        files={MODEL: num_bytes},
        memory_bytes=3 * largest + 64 * header,
        seconds=weights * _WRITE_S,
        notes=notes,
        choices=config,
    )
    if config.quant in _WRITTEN:
        return written
    from ..libllama import QUANTIZE_BYTES

    return replace(
        written,
        memory_bytes=max(written.memory_bytes, QUANTIZE_BYTES),
        seconds=weights * (_WRITE_S + _QUANTIZE_S[config.quant[0]] / _cores(config)),
        scratch_bytes=header + _estimate(source, _exact(source)),
    )


def write(source: Source, out: Path, plan: Plan, progress: Progress) -> Bundle:
    """Writes `model.gguf`; what is found finished in `out` is not done again."""
    config: Config = plan.choices
    target, exact = out / MODEL, out / _EXACT
    if config.quant in _WRITTEN:
        if not target.exists():
            _write_tensors(source, target, config.quant, progress, config.imatrix)
    elif not target.exists():
        if not exact.exists():
            _write_tensors(source, exact, _exact(source), progress)
        from ..libllama import quantize

        with whole(target) as unfinished:
            number, threads = FILE_TYPES[config.quant], _cores(config)
            quantize(exact, unfinished, number, config.imatrix, threads=threads, progress=progress)
    _check_written(source, target)
    return describe(source, target, "llamacpp", MODEL, quantization=config.quant.upper())


# --- what is written here -------------------------------------------------------------------------


def _write_tensors(
    source: Source, path: Path, quant: str, progress: Progress, imatrix: Path | None = None
) -> None:
    from gguf import GGMLQuantizationType

    from ..weights.imatrix import read

    known = read(imatrix) if imatrix is not None else None
    shapes, layers = _shapes(source), source.architecture.num_layers
    kinds = {
        name: GGMLQuantizationType[_kind(name, shapes[name], quant, layers)] for name in shapes
    }
    data = gguf_metadata(source) | {"general.file_type": FILE_TYPES[quant]}
    with whole(path) as unfinished:
        writer = open_writer(unfinished, data | {"general.quantization_version": 2})
        for name, shape in shapes.items():
            writer.add_tensor_info(
                name, shape, np.dtype(np.float32), _num_bytes(shape, kinds[name]), kinds[name]
            )
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for i, name in enumerate(shapes):
                importance = known.importance(name) if known is not None else None
                weight = _read(source, name)
                writer.write_tensor_data(_encoded(name, weight, kinds[name], importance))
                progress(f"writing {quant}", i + 1, len(shapes))
        finally:
            writer.close()


def _shapes(source: Source) -> dict[str, tuple[int, ...]]:
    shapes = {name: source.shape(name) for name in source.names()}
    factors = source.architecture.rope_factors
    return shapes | ({_FACTORS: (len(factors),)} if factors else {})


def _read(source: Source, name: str) -> NDArray[np.float32]:
    """A tensor as llama.cpp wants it: its rows of q and k in pairs, where it rotates pairs."""
    arch = source.architecture
    if name == _FACTORS:
        return np.array(arch.rope_factors, np.float32)
    weight = source.tensor(name)
    if arch.name in PERMUTED and (".attn_q." in name or ".attn_k." in name):
        return pairs(weight, arch.num_heads if ".attn_q." in name else arch.num_kv_heads)
    return weight


def _encoded(
    name: str, weight: NDArray[np.float32], kind: Any, importance: NDArray[np.float32] | None
) -> NDArray[Any]:
    from gguf import quants

    most = float(np.abs(weight).max(initial=0.0))
    if kind.name == "F32":
        return weight
    if kind.name == "F16":
        if most > _F16_MOST:
            raise UnsupportedError(
                f"{name} holds {most:,.0f}, which f16 cannot", "take bf16 or f32"
            )
        return weight.astype(np.float16)
    if kind.name == "Q4_0":
        return _q4_0(weight, None if importance is None else importance[0])
    encoded: NDArray[Any] = quants.quantize(weight, kind)
    return encoded


def _q4_0(weight: NDArray[np.float32], importance: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    """ggml's blocks: a scale in f16, then the codes of the first half below those of the second.

    Several scales are tried, which loses a tenth less than the largest number's (`gguf`).
    """
    found = blocks.quantize(weight, bits=4, importance=importance)
    halves = np.stack(np.split(found.codes, 2, axis=-1), axis=-1)
    codes = blocks.packed(halves.reshape(found.codes.shape), bits=4)
    scales = found.scales.astype(np.float16)[..., None].view(np.uint8)
    return np.concatenate([scales, codes], axis=-1).reshape(len(weight), -1)


def _kind(name: str, shape: tuple[int, ...], quant: str, num_layers: int) -> str:
    """How a tensor is stored: vectors and positions in full; odd rows of q8_0 in f16."""
    if len(shape) < 2 or name == "position_embd.weight":
        return "F32"
    if quant not in ("q8_0", "q4_0_mixed"):
        return quant.upper()
    if shape[-1] % 32:
        return "F16"
    found = _BEAR_Q4_0.fullmatch(name) if quant == "q4_0_mixed" else None
    edge = num_layers // _TENDER_LAYERS
    bears = found is not None and edge <= int(found[1]) < num_layers - edge
    return "Q4_0" if bears else "Q8_0"


def _num_bytes(shape: tuple[int, ...], kind: Any) -> int:
    from gguf import GGML_QUANT_SIZES

    per_block, block_bytes = GGML_QUANT_SIZES[kind]
    return prod(shape) // per_block * block_bytes


def _exact(source: Source) -> str:
    """A format that holds the source's numbers as they are."""
    return {"F16": "f16", "BF16": "bf16"}.get(source.quantization, "f32")


# --- what is checked and told ---------------------------------------------------------------------


def _check_shape(source: Source) -> None:
    """llama.cpp has some numbers of an architecture in its code; others would be ignored."""
    arch = source.architecture
    step4 = tuple((i + 1) % 4 != 0 for i in range(arch.num_layers))
    if arch.name == "smollm3" and (arch.rope_layers or step4) != step4:
        raise UnsupportedError(
            "llama.cpp expects that every fourth layer of smollm3 has no positions",
            f"here those that have are {arch.rope_layers}",
        )
    usual = (arch.num_embd / arch.num_heads if arch.num_layers == 62 else arch.head_dim) ** -0.5
    scale = arch.attention_scale or arch.head_dim**-0.5
    if arch.name == "gemma3" and abs(scale - usual) > 1e-6 * usual:
        raise UnsupportedError(
            f"llama.cpp scales attention of gemma3 by {usual:g}, this model by {scale:g}"
        )


def _notes(source: Source, config: Config) -> Iterator[str]:
    if source.quantization not in ("F32", "F16", "BF16"):
        yield f"the source is {source.quantization}: what it lost does not come back"


def _estimate(source: Source, quant: str) -> int:
    """Bytes of all tensors, about."""
    shapes = _shapes(source).items()
    layers = source.architecture.num_layers
    return round(sum(prod(shape) * _bits(name, shape, quant, layers) for name, shape in shapes) / 8)


def _bits(name: str, shape: tuple[int, ...], quant: str, num_layers: int) -> float:
    if quant in _WRITTEN or len(shape) < 2 or name == "position_embd.weight":
        return _BITS[_kind(name, shape, quant, num_layers)]
    family = next(key for key in _MIXED_BITS if quant.startswith(key))
    bits = _MIXED_BITS[family]
    if shape[-1] % _K_ROW and family not in ("q4_0", "q4_1", "q5_0", "q5_1"):
        bits = _FALLBACK_BITS.get(family, 4.5)
    if name in ("token_embd.weight", "output.weight"):
        return max(bits, 8.5 if shape[-1] % _K_ROW else _EMBEDDING_BITS)
    return bits


def _cores(config: Config) -> int:
    from edgereason.planning.device import this_machine

    return config.threads or this_machine().num_cores


def _check_written(source: Source, path: Path) -> None:
    """Reads the header back: all tensors are there and have their shapes."""
    found = {tensor.name: tensor.shape[::-1] for tensor in gguf.read(path).tensors}
    expected = _shapes(source)
    if found != expected:
        wrong = sorted(set(found.items()) ^ set(expected.items()))[0][0]
        raise BundleError(f"{path.name} was not written as it should be: {wrong} differs")
