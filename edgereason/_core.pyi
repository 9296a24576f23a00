from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from edgereason.engines.base import HostModel
from edgereason.prompt.lowering import CorePhase

_Event = (
    tuple[int, Literal["text"], str, bytes]
    | tuple[int, Literal["phase"], bool, dict[str, Any]]
    | tuple[int, Literal["failed"], str, str]
)

@disjoint_base
class Scheduler:
    engine: Engine
    draft: Engine | None
    def __init__(
        self,
        engine: Engine,
        *,
        threads: int = 0,
        park_cells: int = -1,
        chunk_ms: float = 50,
        margin: float = 1.15,
        answer_share: float = 0.9,
        most_slack: float = 3,
        delivery_ms: float = 2,
        lookahead: int = 0,
        cores: Iterable[int] = (),
        nice: int = 0,
        lock_memory: bool = False,
        clock: ManualClock | None = None,
        draft: Engine | None = None,
    ) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def warm_up(self) -> None: ...
    def now_ms(self) -> float: ...
    def step(self) -> bool: ...
    def open(
        self,
        *,
        priority: int = 0,
        arrival_ms: float = 0.0,
        deadline_ms: float = ...,
        think_budget: int = -1,
        stream: bool = False,
        context_key: int = 0,
        prefix: int = 0,
    ) -> int: ...
    def run(self, sequence: int, phases: Sequence[CorePhase]) -> None: ...
    def run_all(self, runs: Sequence[tuple[int, Sequence[CorePhase]]]) -> None: ...
    def stop_thinking(self, sequence: int) -> None: ...
    def cancel(self, sequence: int) -> None: ...
    def close(self, sequence: int, *, park: bool = False) -> None: ...
    # Keys and values [layers, kv_heads, positions, head_dim]; what `open` takes as `prefix`.
    def add_prefix(self, keys: NDArray[np.float32], values: NDArray[np.float32]) -> int: ...
    # What is parked of tokens alone, the longest unused first: (context key, tokens).
    def kept(self) -> list[tuple[int, tuple[int, ...]]]: ...
    def num_kept(self, context_key: int, tokens: Sequence[int]) -> int: ...
    def save_kept(self, context_key: int, tokens: Sequence[int]) -> bytes: ...
    def restore_kept(self, context_key: int, tokens: Sequence[int], state: bytes) -> bool: ...
    # What `open` takes as `context_key`. Steering [layers, num_embd] is added behind each layer.
    def add_adapters(
        self,
        key: int,
        *,
        loras: Iterable[tuple[str | PathLike[str], float]] = (),
        steering: NDArray[np.float32] | None = None,
    ) -> None: ...
    # By kind of answer: weight, mean and spread of the logarithms. While the loop does not run.
    def restore_lengths(self, lengths: Mapping[int, tuple[float, float, float]]) -> None: ...
    def lengths(self) -> dict[int, tuple[float, float, float]]: ...
    # Milliseconds of steps of 1, 2, 4 ... rows (0: not measured), and per KV cell. Before start.
    def restore_cost(self, knot_ms: Sequence[float], cell_ms: float = 0.0) -> None: ...
    def take(self, timeout_ms: float, max_events: int = 256) -> list[_Event]: ...
    def stats(self) -> dict[str, Any]: ...

# What a model may write, by llguidance, whose native library lies at `library`.
@disjoint_base
class Grammars:
    engine: Engine
    def __init__(self, engine: Engine, library: str) -> None: ...
    # kind: json_schema, regex or lark.
    def compile(self, kind: str, text: str) -> Grammar: ...

@disjoint_base
class Grammar:
    @property
    def is_json(self) -> bool: ...
    @property
    def capsule(self) -> object: ...

# One text of a grammar, as a sequence of the scheduler has it.
@disjoint_base
class Guide:
    def __init__(self, grammar: Grammar, budget: int) -> None: ...
    def prepare(self) -> bool: ...
    # After `prepare`: token i is bit i % 8 of byte i / 8.
    @property
    def mask(self) -> bytes: ...
    def accept(self, token: int, left: int) -> bool: ...
    def forced(self) -> list[int]: ...
    @property
    def must_end(self) -> bool: ...
    @property
    def ending(self) -> list[int]: ...
    @property
    def ends_valid(self) -> bool: ...

def names(which: str) -> tuple[str, ...]: ...

LLAMA_CPP_PYTHON: str

# A row of a step: sequence, position, a token or an embedding [num_embd], is output wanted.
# Sequence, position, token or embedding, output: "hidden" where no logits are read.
_Row = tuple[int, int, int | NDArray[np.float32], bool | Literal["hidden"]]

@disjoint_base
class ManualClock:
    def __init__(self) -> None: ...
    def now_ms(self) -> float: ...
    def advance(self, ms: float) -> None: ...

@disjoint_base
class Engine:
    @property
    def info(self) -> dict[str, int]: ...
    # Bytes of a text that may fit into the context; a longer one need not be tokenized.
    @property
    def most_bytes(self) -> int: ...
    @property
    def bos(self) -> int | None: ...
    @property
    def add_bos(self) -> bool: ...
    def last_error(self) -> str: ...
    def tokenize(self, text: str, *, parse_control: bool = False) -> list[int]: ...
    def detokenize(self, tokens: Iterable[int]) -> bytes: ...
    def piece(self, token: int) -> bytes: ...
    def ends(self, token: int) -> bool: ...
    def is_control(self, token: int) -> bool: ...
    def meta(self, key: str) -> str | None: ...
    def decode(self, rows: Iterable[_Row]) -> None: ...
    def logits(self, row: int) -> NDArray[np.float32] | None: ...
    def hidden(self, row: int) -> NDArray[np.float32] | None: ...
    # What a token is fed as, [num_embd]; None where the engine cannot tell.
    def embed(self, token: int) -> NDArray[np.float32] | None: ...
    def fork(self, source: int, target: int, length: int) -> bool: ...
    def trim(self, seq: int, length: int) -> bool: ...
    def drop(self, seq: int) -> None: ...
    def save(self, seq: int) -> bytes: ...
    def load(self, seq: int, state: bytes) -> None: ...
    def load_prefix(
        self, seq: int, keys: NDArray[np.float32], values: NDArray[np.float32]
    ) -> None: ...
    def set_threads(self, num_threads: int) -> None: ...

# What libllama's memory guard wants for a model of this shape, opened with the defaults. `context`:
# what it was trained for; `cell_values`: numbers of one token's keys and values, all layers.
def needed_bytes(
    file_bytes: int,
    *,
    context: int,
    cell_values: int,
    num_embd: int,
    num_feed_forward: int,
    num_vocab: int,
) -> int: ...

# What the guard takes for free now; negative: the system does not tell.
def free_memory_bytes() -> int: ...

@disjoint_base
class LlamaEngine(Engine):
    def __init__(
        self,
        path: str | PathLike[str],
        *,
        context: int = 0,
        kv_type: str = "f16",
        gpu_layers: int = -1,
        max_seqs: int = 16,
        max_rows: int = 512,
        max_threads: int = 0,
        hidden: bool = False,
        activations: bool = False,
        mmap: bool = True,
        memory_limit: int = 0,
        loras: Iterable[tuple[str | PathLike[str], float]] = (),
    ) -> None: ...
    # By weight: sums of squares [num_matrices, num_columns], rows [num_matrices], largest value.
    def activations(
        self,
    ) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64], float]]: ...

# Logits of `base` plus `strength` times those of `guide`, which has the same vocabulary.
@disjoint_base
class SumEngine(Engine):
    base: Engine
    def __init__(self, base: Engine, guide: Engine, strength: float) -> None: ...

@disjoint_base
class HostEngine(Engine):
    model: HostModel
    def __init__(
        self,
        model: HostModel,
        vocab: str | PathLike[str],
        *,
        caps: int,
        num_vocab: int,
        num_embd: int,
        context: int,
        max_rows: int,
        max_seqs: int,
        max_threads: int = 1,
        cell_bytes: int = 0,
        fingerprint: str = "",
        meta: Mapping[str, str] | None = None,
    ) -> None: ...

@disjoint_base
class ScriptedEngine(Engine):
    def __init__(
        self,
        rules: Iterable[tuple[str, str]] = (),
        *,
        words: Iterable[str] = (),
        control: Iterable[str] = ("<|im_start|>",),
        end: str = "<|im_end|>",
        caps: int = 575,
        context: int = 4096,
        max_rows: int = 512,
        max_seqs: int = 16,
        max_threads: int = 1,
        num_embd: int = 8,
        clock: ManualClock | None = None,
        step_ms: float = 0,
        cell_ms: float = 0,
        row_ms: float = 0,
        pace: Iterable[float] = (),
        sleep_ms: float = 0,
        fail_at_step: int = -1,
    ) -> None: ...
    @property
    def num_steps(self) -> int: ...
    @property
    def num_used_cells(self) -> int: ...
    @property
    def num_threads(self) -> int: ...
    def text(self, seq: int) -> bytes: ...

@disjoint_base
class ThreadGovernor:
    def __init__(self, max_threads: int, fixed: int = 0) -> None: ...
    def observe(self, now_ms: float, rows: int, step_ms: float) -> int: ...
    def set_busy_cores(self, busy: float, num_cores: int = 0) -> None: ...
    @property
    def num_threads(self) -> int: ...

@disjoint_base
class LoadMeter:
    def busy_cores(self) -> float: ...
    @property
    def num_cores(self) -> int: ...
