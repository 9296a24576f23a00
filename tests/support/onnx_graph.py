"""Runs a decoder graph of kind `ort` with nothing around it: caches of numpy, bound in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from edgereason.export.sources.base import Architecture

Floats = NDArray[np.float32]


class Cache:
    """Keys and values of `batch` sequences; what nobody has written yet is garbage."""

    def __init__(self, arch: Architecture, capacity: int, batch: int = 1) -> None:
        shape = (batch, arch.num_kv_heads, capacity, arch.head_dim)
        self.arrays = {
            f"{layer}.{part}": np.full(shape, 77, np.float32)
            for layer in range(arch.num_layers)
            for part in ("key", "value")
        }

    def copy_from(self, other: Cache, row: int) -> None:
        """The only sequence of another cache becomes one of this."""
        for name, array in self.arrays.items():
            array[row] = other.arrays[name][0]


class Graph:
    """One session; `run` is one call of it."""

    def __init__(self, path: Path, arch: Architecture) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.arch = arch
        self._session = onnxruntime.InferenceSession(str(path), options)

    def run(
        self,
        cache: Cache,
        past: ArrayLike,
        ids: ArrayLike,
        *,
        embeds: Floats | None = None,
        rows: ArrayLike | None = None,
    ) -> tuple[Floats, Floats]:
        """Logits and hidden states of `rows` (None: all), of `ids` [batch, length]."""
        tokens = np.asarray(ids, np.int64)
        inputs = {
            "input_ids": tokens,
            "inputs_embeds": np.full((*tokens.shape, self.arch.num_embd), 55, np.float32)
            if embeds is None
            else embeds.reshape(*tokens.shape, self.arch.num_embd),
            "past_lengths": np.asarray(past, np.int32),
            "output_rows": np.arange(tokens.size) if rows is None else np.asarray(rows, np.int64),
        }
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        for name, array in cache.arrays.items():
            where = ("cpu", 0, np.float32, array.shape, array.ctypes.data)
            binding.bind_input(f"past_key_values.{name}", *where)
            binding.bind_output(f"present.{name}", *where)
        binding.bind_output("logits")
        binding.bind_output("hidden_states")
        self._session.run_with_iobinding(binding)
        logits, hidden = binding.copy_outputs_to_cpu()[-2:]
        return logits, hidden
