"""From an exported decoder graph to an engine: what all engines that run such graphs share.

`docs/onnx.md` describes the graph. Knows no library: it is told names, types and shapes, and is
handed an `Executor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from edgereason.engines.base import ALL_CAPS
from edgereason.engines.graph.kv import Executor, PooledModel
from edgereason.errors import BundleError, MemoryLimitError, UsageError

if TYPE_CHECKING:
    from edgereason._core import HostEngine
    from edgereason.models.bundle import Bundle

FORMAT: Final = "1"
DEFAULT_CONTEXT: Final = 4096
_GIB: Final = 2**30
_INPUTS: Final = ("input_ids", "inputs_embeds", "past_lengths", "output_rows")
_OUTPUTS: Final = ("logits", "hidden_states")
_FEWEST: Final = 256  # a smaller context is no use to anybody


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: numpy's name of its type, and its shape; what is dynamic is None."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class GraphInfo:
    """What a decoder graph says of itself. `kind` is "ort", "A" or "B"; `context` is what it was
    made for."""

    kind: str
    context: int
    num_layers: int
    num_kv_heads: int
    head_dim: int
    num_vocab: int
    num_embd: int
    kv_dtype: np.dtype[np.generic]

    @property
    def cell_bytes(self) -> int:
        """Keys and values of one token, all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * self.kv_dtype.itemsize

    @property
    def kv_names(self) -> tuple[str, ...]:
        """`0.key`, `0.value`, `1.key`, ..."""
        return tuple(f"{i}.{part}" for i in range(self.num_layers) for part in ("key", "value"))


class Widths(Protocol):
    """Of a graph of anybody's: what its sizes follow from."""

    @property
    def context(self) -> int: ...
    @property
    def num_vocab(self) -> int: ...
    @property
    def cell_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the pool and a step are."""

    context: int
    sequences: int
    batch: int


def read_info(
    path: Path,
    metadata: Mapping[str, str],
    inputs: Mapping[str, Port],
    outputs: Mapping[str, Port],
) -> GraphInfo:
    """Raises `BundleError` where it is not a decoder that edgereason exported."""
    if metadata.get("edgereason.format") != FORMAT:
        raise _not_ours(path, f"its edgereason.format is {metadata.get('edgereason.format')!r}")
    kind, context = metadata.get("edgereason.kind", ""), metadata.get("edgereason.context", "")
    if kind not in ("ort", "A", "B") or not context.isdecimal():
        raise _not_ours(path, f"its kind is {kind!r}, its context {context!r}")
    num_layers = sum(name.endswith(".key") for name in inputs)
    kv = [f"{i}.{part}" for i in range(num_layers) for part in ("key", "value")]
    wanted_in = [*_INPUTS, *(f"past_key_values.{name}" for name in kv)]
    wanted_out = [*_OUTPUTS, *(f"present.{name}" for name in kv)]
    for what, names, found in (("input", wanted_in, inputs), ("output", wanted_out, outputs)):
        for name in names:
            if name not in found:
                raise _not_ours(path, f"it has no {what} {name}")
    if not num_layers:
        raise _not_ours(path, "it has no past_key_values")
    past = inputs["past_key_values.0.key"]
    widths = (*past.shape[1::2], outputs["logits"].shape[-1], outputs["hidden_states"].shape[-1])
    kv_heads, head_dim, num_vocab, num_embd = (width or 0 for width in widths)
    if min(kv_heads, head_dim, num_vocab, num_embd) < 1 or past.dtype not in (
        "float32",
        "float16",
    ):
        raise _not_ours(path, f"its cache is {past.dtype} {past.shape}")
    return GraphInfo(
        kind=kind,
        context=int(context),
        num_layers=num_layers,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        num_vocab=num_vocab,
        num_embd=num_embd,
        kv_dtype=np.dtype(past.dtype),
    )


def _not_ours(path: Path, why: str) -> BundleError:
    return BundleError(
        f"{path} is not a decoder graph of edgereason: {why}",
        "write it with edgereason export, of the same version",
    )


def choose_context(wanted: int, info: Widths) -> int:
    """`wanted`, or with 0 what the graph was made for, to 4096."""
    if wanted > info.context:
        raise UsageError(
            f"context must be at most {info.context}, which the graph was made for, got {wanted}",
            "export it again with a larger context",
        )
    return wanted or min(info.context, DEFAULT_CONTEXT)


def check_weights(weight_bytes: int, free_bytes: float) -> None:
    """Before anything is read: raises `MemoryLimitError` where not even the weights fit."""
    if weight_bytes > free_bytes:
        raise MemoryLimitError(
            f"the weights take {weight_bytes / _GIB:.2f} GiB, {free_bytes / _GIB:.2f} GiB is free",
            "use a smaller model or a smaller quantization, or free memory",
        )


def check_memory(info: Widths, sizes: Sizes, weight_bytes: int, free_bytes: float) -> None:
    """Raises `MemoryLimitError` where the pool does not fit beside the weights, with what would."""
    room = free_bytes - weight_bytes - 2 * 4 * info.num_vocab * sizes.sequences
    pool_bytes = sizes.context * sizes.sequences * info.cell_bytes
    if pool_bytes <= room:
        return
    context = int(room / info.cell_bytes / sizes.sequences) // _FEWEST * _FEWEST
    sequences = int(room / info.cell_bytes / sizes.context)
    ways = [f"--context {context}"] * (context > 0)
    ways += [f"{sequences} sequences instead of {sizes.sequences}"] * (sequences > 0)
    raise MemoryLimitError(
        f"the model needs {(weight_bytes + pool_bytes) / _GIB:.2f} GiB "
        f"({pool_bytes / _GIB:.2f} of it for {sizes.sequences} sequences of {sizes.context} "
        f"tokens), {free_bytes / _GIB:.2f} GiB is free",
        f"try {' or '.join(ways)}" if ways else "use a smaller model, or free memory",
    )


def vocabulary(bundle: Bundle) -> Path:
    """The bundle's GGUF that holds the vocabulary."""
    for file in bundle.files:
        if file.path.endswith(".gguf"):
            return bundle.path / file.path
    raise BundleError(f"{bundle.name} has no vocab.gguf", "export the model again")


def make_engine(
    executor: Executor, info: GraphInfo, sizes: Sizes, bundle: Bundle, provider: str
) -> HostEngine:
    """The native engine over an executor whose pool has `sizes`."""
    from edgereason import _core

    model = PooledModel(
        executor,
        num_seats=sizes.sequences,
        capacity=sizes.context,
        num_vocab=info.num_vocab,
        num_embd=info.num_embd,
    )
    return _core.HostEngine(
        model,
        vocabulary(bundle),
        caps=ALL_CAPS.value,
        num_vocab=info.num_vocab,
        num_embd=info.num_embd,
        context=sizes.context,
        max_rows=sizes.batch,
        max_seqs=sizes.sequences,
        cell_bytes=info.cell_bytes,
        fingerprint=fingerprint(bundle, info.kv_dtype),
        meta={"provider": provider},
    )


def fingerprint(bundle: Bundle, kv_dtype: np.dtype[np.generic]) -> str:
    """Of what saved KV belongs to."""
    weights = [f"{file.path} {file.size_bytes} {file.sha256}" for file in bundle.files]
    return "\n".join([*weights, kv_dtype.name])
