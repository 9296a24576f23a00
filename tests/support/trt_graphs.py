"""Runs the graphs that TensorRT gets, on ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from edgereason.export.sources.base import Architecture, Source
from edgereason.export.targets import tensorrt
from edgereason.export.weights.for_tensorrt import Weights

Cache = dict[str, np.ndarray]
CONTEXT = 64


def write(
    source: Source, folder: Path, form: Any, weights: Weights, context: int = CONTEXT
) -> Path:
    folder.mkdir(parents=True)
    shape = tensorrt.Shape(form, context, batch=4, chunk=32)
    path = tensorrt.write_graph(source, folder, shape, weights, lambda *_: None)
    onnx.checker.check_model(str(path), full_check=True)
    return path


@dataclass
class GraphRun:
    """One graph; the cache is handed in and out, as an engine would hold it."""

    session: Any
    arch: Architecture
    form: str
    dtype: Any
    context: int = CONTEXT

    @classmethod
    def open(cls, path: Path, arch: Architecture, form: str) -> GraphRun:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        half = any(each.type == "tensor(float16)" for each in session.get_inputs())
        return cls(session, arch, form, np.float16 if half else np.float32)

    def empty(self, batch: int, rows: int = 0, fill: float = 7.0) -> Cache:
        """A cache without tokens: `rows` of garbage in form A, the whole context of it in B."""
        rows = rows if self.form == "A" else self.context
        shape = (batch, self.arch.num_kv_heads, rows, self.arch.head_dim)
        return {
            f"{layer}.{part}": np.full(shape, fill, self.dtype)
            for layer in range(self.arch.num_layers)
            for part in ("key", "value")
        }

    def __call__(
        self,
        ids: Any,
        past: Sequence[int],
        cache: Cache,
        rows: Sequence[int] | None = None,
        embeds: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, Cache]:
        """Logits and hidden states of the rows (all, where none are named), and the cache."""
        ids = np.asarray(ids, np.int64)
        given = np.full((*ids.shape, self.arch.num_embd), 3, np.float32)
        feed = {
            "input_ids": ids,
            "inputs_embeds": given if embeds is None else embeds,
            "past_lengths": np.asarray(past, np.int32),
            "output_rows": np.asarray(range(ids.size) if rows is None else rows, np.int64),
        } | {f"past_key_values.{name}": array for name, array in cache.items()}
        names = [each.name for each in self.session.get_outputs()]
        found = dict(zip(names, self.session.run(None, feed), strict=True))
        after = {
            name.removeprefix("present."): array
            for name, array in found.items()
            if name.startswith("present.")
        }
        return found["logits"], found["hidden_states"], after

    def batch(self, caches: Sequence[Cache], past: Sequence[int]) -> Cache:
        """One cache of several sequences of different lengths, side by side."""
        joined = self.empty(len(caches), max(past))
        for name, array in joined.items():
            for b, (cache, num) in enumerate(zip(caches, past, strict=True)):
                array[b, :, :num] = cache[name][0, :, :num]
        return joined
