"""libllama with nothing around it, by its batch API: rows in, logits out; a vote of samples."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.errors import EngineError, UsageError
from edgereason.records import Sampling

Floats = NDArray[np.float32]
Row = tuple[int, int, int]  # sequence, position, token

_MAX_ROWS: Final = 512


class Libllama:
    """An open model. Close it."""

    def __init__(self, path: Path, *, context: int, threads: int, max_seqs: int) -> None:
        import llama_cpp
        from llama_cpp._logger import set_verbose

        set_verbose(False)
        self._lib: Any = llama_cpp
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise EngineError(f"libllama cannot load {path}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = _MAX_ROWS
        params.n_seq_max = max_seqs
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.kv_unified = True  # as engines/llama.cc has it
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._num_vocab = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self._batch = llama_cpp.llama_batch_init(_MAX_ROWS, 0, 1)

    def close(self) -> None:
        self._lib.llama_batch_free(self._batch)
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)

    def clear(self) -> None:
        """No sequence has cells."""
        self._lib.llama_memory_clear(self._memory, True)

    def ends(self, token: int) -> bool:
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    def decode(self, rows: Sequence[Row]) -> list[Floats]:
        """The logits of the last row of each sequence, in the order of those rows."""
        return [self._logits(i) for i in self._decode(rows)]

    def samples(
        self, prompt: Sequence[int], seeds: Sequence[int], sampling: Sampling, most: int
    ) -> list[list[int]]:
        """For each seed the tokens that llama.cpp's samplers draw after `prompt`, side by side on
        its KV: to their end, `most` at most. Draws are llama.cpp's: other tokens than ours."""
        self.clear()
        samplers = [self._sampler(sampling, seed) for seed in seeds]
        try:
            (at,) = self._decode([(0, i, token) for i, token in enumerate(prompt)])
            for seq in range(1, len(seeds)):
                self._lib.llama_memory_seq_cp(self._memory, 0, seq, -1, -1)
            lines: list[list[int]] = [[] for _ in seeds]
            rows = dict.fromkeys(range(len(seeds)), at)  # sequence -> row of its logits
            while rows:
                drawn = {
                    seq: self._lib.llama_sampler_sample(samplers[seq], self._context, row)
                    for seq, row in rows.items()
                }
                for seq, token in drawn.items():
                    if not self.ends(token):
                        lines[seq].append(token)
                going = [seq for seq, token in drawn.items() if not self.ends(token)]
                going = [seq for seq in going if len(lines[seq]) < most]
                if not going:
                    break
                last = [(seq, len(prompt) + len(lines[seq]) - 1, lines[seq][-1]) for seq in going]
                rows = dict(zip(going, self._decode(last), strict=True))
            return lines
        finally:
            for sampler in samplers:
                self._lib.llama_sampler_free(sampler)

    def _sampler(self, sampling: Sampling, seed: int) -> Any:
        lib = self._lib
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        parts = []
        if sampling.top_k:
            parts.append(lib.llama_sampler_init_top_k(sampling.top_k))
        if sampling.top_p < 1:
            parts.append(lib.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p:
            parts.append(lib.llama_sampler_init_min_p(sampling.min_p, 1))
        parts += [
            lib.llama_sampler_init_temp(sampling.temperature),
            lib.llama_sampler_init_dist(seed),
        ]
        for part in parts:
            lib.llama_sampler_chain_add(chain, part)
        return chain

    def _decode(self, rows: Sequence[Row]) -> list[int]:
        """Where in the batch the last row of each sequence is."""
        if len(rows) > _MAX_ROWS:
            raise UsageError(f"a prompt of this bench has at most {_MAX_ROWS} tokens")
        last = {seq: i for i, (seq, _, _) in enumerate(rows)}
        self._batch.n_tokens = len(rows)
        for i, (seq, pos, token) in enumerate(rows):
            self._batch.token[i] = token
            self._batch.pos[i] = pos
            self._batch.n_seq_id[i] = 1
            self._batch.seq_id[i][0] = seq
            self._batch.logits[i] = last[seq] == i
        if self._lib.llama_decode(self._context, self._batch) != 0:
            raise EngineError("llama_decode failed")
        return sorted(last.values())

    def _logits(self, row: int) -> Floats:
        found = self._lib.llama_get_logits_ith(self._context, row)
        address = ctypes.cast(found, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(address, (self._num_vocab,))
