"""An engine without a model: replays a script, for tests, examples and docs.

The bundle's first file is a TOML file, a `Script`:

    words = ["think", "four"]                # pieces of several bytes; every byte is one anyway
    control = ["<|im_start|>", "<think>"]    # control tokens; `end` is one more

    [[rules]]                                # of all rules the one whose `after` came last holds
    after = "<|im_start|>assistant\\n"
    reply = "<think>two and two</think>four"

What follows after the last of a rule is the end token; text that no rule foresaw is answered with
noise that depends on every token before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgereason.config import MOST, build, load_toml, require_ranges
from edgereason.engines.base import ALL_CAPS
from edgereason.errors import BundleError, UsageError
from edgereason.records import Capability

if TYPE_CHECKING:
    from edgereason._core import Engine
    from edgereason.models.bundle import Bundle

caps = (ALL_CAPS & ~Capability.PREFIX_KV) | Capability.TOKEN_ROWS


@dataclass(frozen=True, slots=True)
class Config:
    context: int = field(default=4096, metadata={"help": "KV cells, shared by all requests"})
    sequences: int = field(default=16, metadata={"help": "chains of thought side by side"})
    batch: int = field(default=512, metadata={"help": "tokens of one step at most"})
    sleep_ms: float = field(default=0.0, metadata={"help": "real time that each step takes"})
    fail_at_step: int = field(default=-1, metadata={"help": "the step that fails; -1: none"})

    def __post_init__(self) -> None:
        require_ranges(
            self,
            context=(1, 2**20),
            sequences=(1, 256),
            batch=(1, 2**16),
            sleep_ms=(0, 10_000),
            fail_at_step=(-1, MOST),
        )


@dataclass(frozen=True, slots=True)
class Rule:
    after: str
    reply: str


@dataclass(frozen=True, slots=True)
class Script:
    rules: tuple[Rule, ...]
    words: tuple[str, ...] = ()
    control: tuple[str, ...] = ("<|im_start|>",)
    end: str = "<|im_end|>"


def open(bundle: Bundle, config: Config) -> Engine:
    """Reads the script and starts it."""
    from edgereason import _core
    from edgereason.models.bundle import model_file

    path = model_file(bundle)
    try:
        script = build(Script, load_toml(path), what="key")
    except UsageError as error:
        raise BundleError(f"{path} is not a script: {error.message}", error.hint) from None
    return _core.ScriptedEngine(
        [(rule.after, rule.reply) for rule in script.rules],
        words=script.words,
        control=script.control,
        end=script.end,
        context=config.context,
        max_rows=config.batch,
        max_seqs=config.sequences,
        sleep_ms=config.sleep_ms,
        fail_at_step=config.fail_at_step,
    )
