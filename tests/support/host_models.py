"""A model in Python that adds up its tokens, for tests of `HostEngine`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgereason import _core
from edgereason.records import Capability
from support.tiny_models import NUM_VOCAB

EMBD = 4
ALL = (
    Capability.LOGITS
    | Capability.FORK
    | Capability.TRIM
    | Capability.SAVE_KV
    | Capability.EMBED_IN
    | Capability.HIDDEN_OUT
)


class Sums:
    """Logits are one-hot at the sum of the tokens so far, hidden states are the last embedding."""

    def __init__(self) -> None:
        self.held: dict[int, list[int]] = {}
        self.calls: list[Any] = []
        self.error: BaseException | None = None

    def decode(self, seqs: Any, positions: Any, tokens: Any, outputs: Any, embeddings: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.calls.append((seqs.tolist(), positions.tolist(), tokens.tolist(), outputs.tolist()))
        sums = []
        for i, (seq, token) in enumerate(zip(seqs.tolist(), tokens.tolist(), strict=True)):
            value = int(embeddings[i].sum()) if token < 0 else token
            self.held.setdefault(seq, []).append(value)
            if outputs[i]:
                sums.append(sum(self.held[seq]) % NUM_VOCAB)
        logits = np.zeros((len(sums), NUM_VOCAB), np.float32)
        logits[np.arange(len(sums)), sums] = 1
        hidden = np.repeat(np.array(sums, np.float32)[:, None], EMBD, axis=1)
        return logits, hidden

    def fork(self, source: int, target: int, length: int) -> None:
        self.held[target] = self.held[source][:length]

    def trim(self, seq: int, length: int) -> None:
        if length:
            del self.held[seq][length:]
        else:
            self.held.pop(seq)

    def save(self, seq: int) -> bytes:
        return np.array(self.held[seq], np.int32).tobytes()

    def load(self, seq: int, length: int, data: bytes) -> None:
        self.held[seq] = np.frombuffer(data, np.int32).tolist()
        assert len(self.held[seq]) == length

    def set_threads(self, num_threads: int) -> None:
        self.calls.append(num_threads)


def engine_of(model: Any, vocab: Path, **changes: Any) -> _core.HostEngine:
    sizes: dict[str, Any] = {
        "caps": ALL.value,
        "num_vocab": NUM_VOCAB,
        "num_embd": EMBD,
        "context": 64,
        "max_rows": 16,
        "max_seqs": 4,
    }
    return _core.HostEngine(model, vocab, **{**sizes, **changes})
