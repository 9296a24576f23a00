"""Decoder graphs that other tools wrote: bound by the names and shapes of what they have.

Known are graphs of token ids with a KV cache that comes back longer, as optimum and onnxruntime-
genai's builder write them. Sequences are run one after the other: such graphs differ in how they
take rows of unequal length, and agree on one; `foreign_in_place.py` knows a kind that takes more.
They give no hidden states and take no embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.engines.graph.exported import DEFAULT_CONTEXT, Port
from edgereason.engines.graph.kv import Run
from edgereason.errors import BundleError, UnsupportedError
from edgereason.models.onnx_folder import OnnxFolder
from edgereason.records import Capability

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CAPS: Final = Capability.LOGITS | Capability.FORK | Capability.TRIM | Capability.SAVE_KV

_PAST: Final = re.compile(r"past_key_values\.(\d+\.(?:key|value))")
_BRANCH: Final = "use_cache_branch"
_KNOWN: Final = ("input_ids", "attention_mask", "position_ids", _BRANCH)
_KINDS: Final = ("float32", "float16")
_LOGITS: Final = 1 << 24  # numbers of one run; graphs give logits of all rows
_CLOSE: Final = 0.02  # between logits of a chunk and of its tokens one by one, of their spread

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ForeignGraph:
    """What a graph takes and gives.

    Attributes:
        inputs: name -> numpy's name of the type, of all that is not KV.
        kv: name of a buffer -> (kv_heads, head_dim), in the order of the graph.
        context: tokens that it was made for.
    """

    inputs: Mapping[str, str]
    kv: Mapping[str, tuple[int, int]]
    kv_dtype: np.dtype[Any]
    logits_dtype: np.dtype[Any]
    num_vocab: int
    context: int

    @property
    def kv_names(self) -> tuple[str, ...]:
        return tuple(self.kv)

    @property
    def cell_bytes(self) -> int:
        """Keys and values of one token, all layers."""
        return self.kv_dtype.itemsize * sum(heads * width for heads, width in self.kv.values())


def read_foreign(
    path: Path, model: OnnxFolder, inputs: Mapping[str, Port], outputs: Mapping[str, Port]
) -> ForeignGraph:
    """Raises `UnsupportedError` with what the graph has that we cannot give, or lacks."""
    past = {match[1]: port for name, port in inputs.items() if (match := _PAST.fullmatch(name))}
    others = {name: port for name, port in inputs.items() if not _PAST.fullmatch(name)}
    if strange := sorted(name for name in others if name not in _KNOWN):
        raise _refused(path, f"it wants {', '.join(strange)}", "known: " + ", ".join(_KNOWN))
    if "input_ids" not in others or "logits" not in outputs:
        raise _refused(path, "it does not go from input_ids to logits", "only decoders run")
    if not past:
        raise _refused(
            path,
            "it has no KV cache, every token would read the whole text anew",
            "export it with the task text-generation-with-past",
        )
    if lost := [name for name in past if f"present.{name}" not in outputs]:
        raise _refused(path, f"it gives no present.{lost[0]}", "export it with its KV cache")
    kinds = {port.dtype for port in past.values()} | {outputs["logits"].dtype}
    if unknown := sorted(kinds - {*_KINDS}):
        raise _refused(path, f"its KV cache or logits are {unknown[0]}", "known: float32, float16")
    return ForeignGraph(
        inputs={name: port.dtype for name, port in others.items()},
        kv={name: _shape(path, port, model) for name, port in past.items()},
        kv_dtype=np.dtype(next(iter(past.values())).dtype),
        logits_dtype=np.dtype(outputs["logits"].dtype),
        num_vocab=outputs["logits"].shape[-1] or model.num_vocab,
        context=model.context or DEFAULT_CONTEXT,
    )


def most_rows(graph: ForeignGraph) -> int:
    """Of one run: graphs give logits of all."""
    return max(1, _LOGITS // graph.num_vocab)


def cuts(num: int, wanted: Container[int], most: int, most_later: int = 0) -> Iterator[int]:
    """Where runs of a sequence's new rows end: behind each row that is wanted, since the last row
    of a run is the one that every graph gives, and where a run would have too many. `most` rows has
    the first run, the others `most_later`, or as many where that is 0."""
    start = 0
    for row in range(num):
        if row in wanted or row + 1 == num or row + 1 - start >= most:
            yield row + 1
            start, most = row + 1, most_later or most


def _shape(path: Path, port: Port, model: OnnxFolder) -> tuple[int, int]:
    """KV heads and their width; what the graph leaves open is in its configuration."""
    if len(port.shape) != 4:
        raise _refused(path, f"its KV cache has {len(port.shape)} dimensions", "known: four")
    heads, width = port.shape[1] or model.num_kv_heads, port.shape[3] or model.head_dim
    if heads < 1 or width < 1:
        raise BundleError(f"neither {path} nor its configuration says how wide its KV cache is")
    return heads, width


def _refused(path: Path, why: str, hint: str) -> UnsupportedError:
    return UnsupportedError(f"{path} cannot be run: {why}", hint)


class Alone:
    """Runs one sequence at a time. The KV of a seat is what the graph gave last: it goes back in as
    it is, and is never written to, so that a fork costs nothing."""

    def __init__(
        self, session: InferenceSession, graph: ForeignGraph, num_seats: int, device: str
    ) -> None:
        self._session = session
        self._graph = graph
        self._device = device
        self._kv: list[list[Any]] = [self._empty() for _ in range(num_seats)]
        self._length = [0] * num_seats
        self._most_rows = most_rows(graph)
        self._most_later = self._most_rows  # of a run that has a past
        self._try()
        if _BRANCH in graph.inputs and not self._takes_chunks():
            self._most_later = 1

    def run(self, run: Run) -> None:
        tokens, past, seat = run.tokens[0], int(run.past[0]), run.first
        place_of = {row: place for place, row in enumerate(run.rows.tolist())}
        start = 0
        most = self._most_rows if past == 0 else self._most_later
        for end in cuts(len(tokens), place_of, most, self._most_later):
            logits = self._piece(seat, past + start, tokens[start:end])
            if end - 1 in place_of:
                run.logits[place_of[end - 1]] = logits
            start = end

    def copy(self, source: int, target: int, length: int) -> None:
        self._kv[target], self._length[target] = self._first(source, length), length

    def read(self, seat: int, length: int) -> bytes:
        return b"".join(value.numpy().tobytes() for value in self._first(seat, length))

    def write(self, seat: int, length: int, data: bytes) -> None:
        numbers, at, kv = np.frombuffer(data, self._graph.kv_dtype), 0, []
        for heads, width in self._graph.kv.values():
            size = heads * length * width
            kv.append(self._value(numbers[at : at + size].reshape(1, heads, length, width)))
            at += size
        self._kv[seat], self._length[seat] = kv, length

    # -- runs --------------------------------------------------------------------------------------

    def _piece(self, seat: int, past: int, tokens: Array) -> Array:
        """One run; the logits of its last row."""
        # What lies behind was taken back, or belonged to another sequence.
        kv = self._first(seat, past)
        if not past:  # else its old KV is held until the new is there
            self._kv[seat], self._length[seat] = kv, 0
        graph, binding = self._graph, self._session.io_binding()
        num = len(tokens)
        values = {
            "input_ids": tokens[None],
            "attention_mask": np.ones((1, past + num)),
            "position_ids": np.arange(past, past + num)[None],
            _BRANCH: np.array([past > 0]),
        }
        for name, dtype in graph.inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values[name], dtype))
        for name, value in zip(graph.kv, kv, strict=True):
            binding.bind_ortvalue_input(f"past_key_values.{name}", value)
        binding.bind_output("logits", "cpu")
        for name in graph.kv:
            binding.bind_output(f"present.{name}", self._device)
        self._session.run_with_iobinding(binding)
        logits, *self._kv[seat] = binding.get_outputs()
        self._length[seat] = past + num
        last: Array = logits.numpy()[0, -1]
        return last

    def _try(self) -> None:
        """Some graphs open where they cannot be run: they were made for another device, or fail as
        soon as there is a past."""
        try:
            self._piece(0, 0, np.zeros(2, np.int64))
            self._piece(0, 2, np.zeros(1, np.int64))
        except Exception as error:  # onnxruntime's own classes differ between versions
            raise UnsupportedError(
                f"the graph does not run on {self._session.get_providers()[0]}: {error}",
                "export it anew for this device, or in another precision",
            ) from None
        self._kv[0], self._length[0] = self._empty(), 0

    def _takes_chunks(self) -> bool:
        """Whether a graph of two branches does the same with two tokens behind a past as with one
        and one: some were traced with one, and are wrong for more. They say nothing of it."""
        tokens = np.array([0, 1, 2]) % self._graph.num_vocab
        self._piece(0, 0, tokens[:1])
        kept = self._kv[0]
        together = self._piece(0, 1, tokens[1:])
        self._kv[0], self._length[0] = kept, 1
        self._piece(0, 1, tokens[1:2])
        apart = self._piece(0, 2, tokens[2:])
        self._kv[0], self._length[0] = self._empty(), 0
        spread = float(apart.max() - apart.min())
        return bool(np.abs(together - apart).max() <= _CLOSE * spread)

    # -- KV ----------------------------------------------------------------------------------------

    def _first(self, seat: int, length: int) -> list[Any]:
        """The KV of the first tokens of a seat: what is there, or a copy of its beginning."""
        if self._length[seat] == length:
            return self._kv[seat]
        return [self._value(value.numpy()[:, :, :length]) for value in self._kv[seat]]

    def _empty(self) -> list[Any]:
        shapes = self._graph.kv.values()
        kind = self._graph.kv_dtype
        return [self._value(np.zeros((1, heads, 0, width), kind)) for heads, width in shapes]

    def _value(self, array: Array) -> Any:
        from onnxruntime import OrtValue

        return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self._device, 0)
