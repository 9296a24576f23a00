"""The contract of an engine: what turns rows of tokens into logits and keeps the KV of sequences.

An engine is a module with three names:

    caps = Capability.LOGITS | Capability.FORK     # the most it can do with any model

    @dataclass(frozen=True, slots=True)
    class Config:                                  # its options; each becomes an option of `open`
        context: int = field(default=0, metadata={"help": "tokens; 0: what the model allows"})

    def open(bundle: Bundle, config: Config) -> Engine:
        import heavy_library                       # here, so that listing engines costs nothing
        return ...

and one more where an ability costs something and is there only on request:

    switches = {Capability.HIDDEN_OUT: "hidden=true"}   # the option that brings it, for people

`open` is called once per model, before any request. It raises `ModelNotFoundError`, `BundleError`,
`MemoryLimitError` or `UnsupportedError` with a way out; what the opened model can really do is in
`engine.info["caps"]`, and strategies that need more are refused before their first token.

What `open` returns is an engine of the native core: the scheduler calls it once a step on a thread
of its own, without the GIL. The calls below are for tests and tools that have the engine to
themselves:

    engine.decode([(0, pos, token, pos == last) for pos, token in enumerate(prompt)])
    logits = engine.logits(last)                   # [num_vocab], of the row that asked for output
    engine.fork(0, 1, len(prompt))                 # sequence 1 starts with the same tokens

A model that lives in Python is a `HostModel`, which `_core.HostEngine` makes an engine of. It is
asked once a step, with the GIL taken for the call, and only for what can be done: rows, lengths and
cells were checked before. The least there can be, a model that answers each token with the next:

    class Counter:
        def decode(self, seqs, positions, tokens, outputs, embeddings):
            logits = np.zeros((np.count_nonzero(outputs), 259), np.float32)
            logits[np.arange(len(logits)), (tokens[outputs] + 1) % 259] = 1
            return logits, None

        def trim(self, seq, length): ...           # it keeps nothing to cut

    engine = _core.HostEngine(Counter(), bundle.path / "vocab.gguf", caps=caps.value,
                              num_vocab=259, num_embd=1, context=256, max_rows=64, max_seqs=8)

Text and tokens are libllama's, from the metadata of the GGUF. `fork` is needed with `FORK`, `save`
and `load` with `SAVE_KV`, `set_threads` with `max_threads` above 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edgereason.errors import UnsupportedError
from edgereason.records import Capability

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from edgereason.models.bundle import Bundle


class HostModel(Protocol):
    """A model in Python. All calls come one after the other, from the scheduler's native thread.

    An exception breaks the engine: the step fails, and the requests with it, with its text. Only a
    `ContextFullError` out of `decode` says that there was no room and nothing was changed.

    A model without embeddings and hidden states may also have `step(seq, token)`: a `decode` of one
    row that returns its logits [1, num_vocab]. It spares a lone sequence the arrays of a `decode`:
    after each run of a model all code and data are cold, and a call of Python costs microseconds.
    """

    def decode(
        self,
        seqs: NDArray[np.int32],
        positions: NDArray[np.int32],
        tokens: NDArray[np.int32],
        outputs: NDArray[np.bool_],
        embeddings: NDArray[np.float32] | None,
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        """Appends rows to their sequences. All or nothing.

        Args:
            seqs, positions, tokens, outputs: [num_rows], rows of a sequence in order but not side
                by side; a token of -1 is a row whose embedding is taken. Views of native memory,
                valid during the call.
            embeddings: [num_rows, num_embd], or None where no row has one.

        Returns:
            Logits [num_outputs, num_vocab] and, with `HIDDEN_OUT`, the states after the final norm
            [num_outputs, num_embd], in the order of the rows with output. They are C-contiguous,
            read in place, and must stay as they are until the next `decode`.
        """

    def fork(self, source: int, target: int, length: int) -> None:
        """The empty `target` gets the first `length` tokens of `source`."""

    def trim(self, seq: int, length: int) -> None:
        """Forgets all but the first `length` tokens; 0 frees the sequence."""

    def save(self, seq: int) -> bytes:
        """The KV of a sequence. It is sealed and checked on the native side."""

    def load(self, seq: int, length: int, data: bytes) -> None:
        """KV that `save` gave, of `length` tokens, into an empty sequence. With `PREFIX_KV` also
        that of a prefix: layer by layer keys, then values, [kv_heads, length, head_dim] in float32,
        or in float16 where `cell_bytes` says so; keys rotated in halves."""

    def set_threads(self, num_threads: int) -> None:
        """Between two steps, with `max_threads` above 1 only."""


ALL_CAPS = (
    Capability.LOGITS
    | Capability.FORK
    | Capability.TRIM
    | Capability.SAVE_KV
    | Capability.EMBED_IN
    | Capability.HIDDEN_OUT
    | Capability.PREFIX_KV
)
"""What engines of ours can do with a model that keeps a plain KV cache."""


def require_file(bundle: Bundle, path: Path, *suffixes: str, engine: str, target: str) -> None:
    """The bundle's model is a file of the kind that the engine opens."""
    if path.suffix not in suffixes:
        raise UnsupportedError(
            f"engine {engine} opens {suffixes[0]} files, and {bundle.name} holds {path.name}",
            f"leave --engine out, or make such a file with: edgereason export --to {target}",
        )
