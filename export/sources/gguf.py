"""A GGUF as a source, the reading side: tensors dequantized one at a time.

The header comes through `edgereason.models.gguf`, which checks every length; the numbers through
the `gguf` package's dequantizers. Knows how GGUF writes each architecture's shape.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason import files
from edgereason.errors import BundleError, UnsupportedError
from edgereason.models import gguf
from edgereason.models.bundle import sha256_of, variant_of

from .base import ARCHITECTURES, PERMUTED, Architecture, Source, halves, refuse
from .tensors import check_tensors

_FACTORS: Final = "rope_freqs.weight"
_SMOLLM3_ROPE_STEP: Final = 4  # every fourth layer has no positions
_GEMMA3_PATTERN: Final = 6  # every sixth layer sees all
_GEMMA3_27B_LAYERS: Final = 62


class GgufSource(Source):
    """One `.gguf`, mapped into memory."""

    def __init__(self, path: Path) -> None:
        self._header = header = gguf.read(path)
        if header.architecture not in ARCHITECTURES:
            raise refuse(header.architecture)
        if header.integer("split.count") > 1:
            raise UnsupportedError(
                f"{path.name} is one part of a model in {header.integer('split.count')} parts",
                "join them with llama.cpp's llama-gguf-split --merge",
            )
        self._tensors = {tensor.name: tensor for tensor in header.tensors}
        if "token_embd.weight" not in self._tensors:
            raise BundleError(f"{path.name} holds no weights", "give a whole model")
        with files.reading(path) as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.path = path
        self.name = header.name
        self.licence = header.licence
        self.base_model = header.text("general.base_model.0.name")
        self.quantization = header.quantization
        self.architecture = _architecture(header, self._factors())
        shapes = {name: self.shape(name) for name in self.names()}
        check_tensors(self.architecture, shapes, path.name)
        self.vocabulary = dict(_vocabulary(header))
        self.variant = variant_of(header)

    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self._tensors if name != _FACTORS)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape[::-1]

    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def _read_tensor(self, name: str) -> NDArray[np.float32]:
        read = self._read(name)
        arch = self.architecture
        if arch.name in PERMUTED and ".attn_q." in name:
            return halves(read, arch.num_heads)
        if arch.name in PERMUTED and ".attn_k." in name:
            return halves(read, arch.num_kv_heads)
        return read

    @cached_property
    def base_hash(self) -> str:
        return self._header.text("edgereason.base") or sha256_of(self.path)

    def close(self) -> None:
        # Whoever still looks at the mapping keeps it; it goes with the last array.
        with contextlib.suppress(BufferError):
            self._data.close()

    def _read(self, name: str) -> NDArray[np.float32]:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        tensor = self._tensors[name]
        kind = GGMLQuantizationType(tensor.type)
        rows = prod(tensor.shape[1:])
        raw = np.frombuffer(self._data, np.uint8, tensor.num_bytes, tensor.offset)
        if kind is GGMLQuantizationType.F32:
            exact: NDArray[np.float32] = raw.view(np.float32).reshape(self.shape(name)).copy()
            return exact
        if kind is GGMLQuantizationType.F16:
            return raw.view(np.float16).astype(np.float32).reshape(self.shape(name))
        try:
            numbers = dequantize(raw.reshape(rows, -1), kind)
        except NotImplementedError:
            raise UnsupportedError(
                f"cannot read {name}: it is stored as {kind.name}", "give the model in F16 or Q8_0"
            ) from None
        return np.ascontiguousarray(numbers, np.float32).reshape(self.shape(name))

    def _factors(self) -> tuple[float, ...]:
        return tuple(self._read(_FACTORS).tolist()) if _FACTORS in self._tensors else ()


def _architecture(header: gguf.Gguf, factors: tuple[float, ...]) -> Architecture:
    name = header.architecture
    _refuse_unknown_parts(header)

    integer, number = partial(_integer, header), partial(_number, header)
    shapes = {tensor.name: tensor.shape[::-1] for tensor in header.tensors}
    heads = integer("attention.head_count")
    embd = integer("embedding_length")
    layers = integer("block_count")
    context = integer("context_length")
    common: dict[str, Any] = {
        "name": name,
        "num_layers": layers,
        "num_embd": embd,
        "num_heads": heads,
        "num_kv_heads": integer("attention.head_count_kv", heads),
        "head_dim": integer("attention.key_length", embd // max(heads, 1)),
        "num_ff": integer("feed_forward_length"),
        "num_vocab": shapes["token_embd.weight"][0],
        "context": context,
        "norm_eps": round(
            number("attention.layer_norm_epsilon") or number("attention.layer_norm_rms_epsilon"), 12
        ),
        "tied": "output.weight" not in shapes,
        "rope_factors": factors,
    }
    if name != "gpt2":
        common["rope_theta"] = number("rope.freq_base", 10000.0)
        common["rope_scale"] = number("rope.scaling.factor", 1.0)
    if name == "smollm3":
        common["rope_layers"] = tuple((i + 1) % _SMOLLM3_ROPE_STEP != 0 for i in range(layers))
    if name == "gemma3":
        common |= _gemma3(header, embd, heads, layers)
    return Architecture(**common)


def _integer(header: gguf.Gguf, key: str, default: int = 0) -> int:
    key = f"{header.architecture}.{key}"
    value = header.metadata.get(key, default)
    if type(value) is not int:
        raise UnsupportedError(
            f"{key} is {value!r}, not one number", "layers that differ in size cannot be exported"
        )
    return value


def _number(header: gguf.Gguf, key: str, default: float = 0.0) -> float:
    value = header.metadata.get(f"{header.architecture}.{key}", default)
    return float(value) if isinstance(value, (int, float)) else default


def _gemma3(header: gguf.Gguf, embd: int, heads: int, layers: int) -> dict[str, Any]:
    """What llama.cpp knows of gemma3 beside the metadata."""
    window = header.integer("gemma3.attention.sliding_window")
    listed = header.items("gemma3.attention.sliding_window_pattern")
    step = header.integer("gemma3.attention.sliding_window_pattern", _GEMMA3_PATTERN)
    sliding = tuple(map(bool, listed)) or tuple((i + 1) % step != 0 for i in range(layers))
    base = header.metadata.get("gemma3.rope.freq_base_swa", 10000.0)
    return {
        "embedding_scale": float(np.sqrt(np.float32(embd))),
        "attention_scale": float((embd / heads) ** -0.5) if layers == _GEMMA3_27B_LAYERS else 0.0,
        "sliding_window": window,
        "sliding_layers": sliding if window else (),
        "local_rope_theta": float(base) if isinstance(base, (int, float)) else 10000.0,
    }


def _refuse_unknown_parts(header: gguf.Gguf) -> None:
    """What a model of a known name may have, and no target knows."""
    name = header.architecture
    if header.integer(f"{name}.expert_count"):
        raise UnsupportedError(
            f"{header.name} is a mixture of experts, which cannot be exported", "give a dense model"
        )
    scaling = header.text(f"{name}.rope.scaling.type", "none")
    if scaling not in ("none", "linear"):
        raise UnsupportedError(
            f"{header.name} scales its positions by {scaling!r}", "known: none, linear, llama3"
        )
    if header.metadata.get(f"{name}.final_logit_softcapping"):
        raise UnsupportedError(f"{header.name} caps its logits, which no target knows")


def _vocabulary(header: gguf.Gguf) -> Iterator[tuple[str, Any]]:
    for key, value in header.metadata.items():
        if key.startswith(("tokenizer.", "general.sampling.")):
            yield key, header.items(key) if isinstance(value, gguf.Array) else value
