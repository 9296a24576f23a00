"""Thinks in rounds, each from the summary of the last (2503.06692)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from edgereason.errors import UsageError
from edgereason.records import Capability

_SUMMARY: Final = "{summary}"


@dataclass(frozen=True, slots=True)
class Variant:
    """How it was trained to.

    Attributes:
        round_tokens, summary_tokens: of a round's thinking and of its summary, at most.
        history: appended to the last user message, `{summary}` in it is the newest one.
        open, shut: what a summary is written between.
    """

    needs: ClassVar = Capability.LOGITS

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
