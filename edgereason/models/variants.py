"""How a model was changed by training, as far as its use depends on it: a bundle's `variant`.

    config.json  {"edgereason": {"variant": {"kind": "coconut", "latents": 6}}}

The same object stands in `edgereason.json` under `variant`, and as JSON text in a GGUF's metadata
under `edgereason.variant`. A kind is named after the strategy that fits. Knows no file format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from edgereason.config import build, unknown
from edgereason.errors import UsageError

GGUF_KEY: Final = "edgereason.variant"

_SUMMARY: Final = "{summary}"


@dataclass(frozen=True, slots=True)
class Coconut:
    """Thinks in hidden states (2412.06769).

    Attributes:
        latents: steps it was trained to think.
        start, end: tokens around them; "" none.
        mark: the answer is what follows its last occurrence; "" the whole text.
    """

    kind: Literal["coconut"] = "coconut"
    latents: int = 6
    start: str = "<|start-latent|>"
    end: str = "<|end-latent|>"
    mark: str = "#"

    def __post_init__(self) -> None:
        if self.latents < 0:
            raise UsageError(f"latents must be 0 or more, got {self.latents}")


@dataclass(frozen=True, slots=True)
class InftyThink:
    """Thinks in rounds, each from the summary of the last (2503.06692).

    Attributes:
        round_tokens, summary_tokens: of a round's thinking and of its summary, at most.
        history: appended to the last user message, `{summary}` in it is the newest one.
        open, shut: what a summary is written between.
    """

    round_tokens: int
    summary_tokens: int
    kind: Literal["infty_think"] = "infty_think"
    history: str = "\n<history>\n{summary}\n</history>"
    open: str = "<summary>\n"
    shut: str = "\n</summary>"

    def __post_init__(self) -> None:
        for name in ("round_tokens", "summary_tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.history.count(_SUMMARY) != 1:
            raise UsageError(f"history must hold {_SUMMARY} once, got {self.history!r}")
        for name in ("open", "shut"):
            if not getattr(self, name):
                raise UsageError(f"{name} must not be empty")


Variant = Coconut | InftyThink

_KINDS: Final[Mapping[str, type[Variant]]] = {"coconut": Coconut, "infty_think": InftyThink}


def read_variant(data: Any) -> Variant | None:
    """The variant that a manifest or a config says; None for "base" and where nothing is said."""
    if data is None:
        return None
    if not isinstance(data, Mapping):
        raise UsageError(f"variant must be a table, got {data!r}")
    kind = str(data.get("kind", ""))
    if kind == "base":
        return None
    if kind not in _KINDS:
        raise unknown("unknown variant", kind, (*_KINDS, "base"))
    return build(_KINDS[kind], data, what="key", where="variant")


def to_text(variant: Variant) -> str:
    """For GGUF's metadata."""
    return json.dumps(asdict(variant), ensure_ascii=False)


def from_text(text: str) -> Variant | None:
    """What `to_text` wrote; None for ""."""
    if not text:
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{GGUF_KEY} is not JSON: {error}") from None
    return read_variant(data)
