"""Thinks in hidden states (2412.06769)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgereason.errors import UsageError
from edgereason.records import Capability


@dataclass(frozen=True, slots=True)
class Variant:
    """How it was trained to.

    Attributes:
        latents: steps it was trained to think.
        start, end: tokens around them; "" none.
        mark: the answer is what follows its last occurrence; "" the whole text.
    """

    needs: ClassVar = Capability.LOGITS | Capability.EMBED_IN | Capability.HIDDEN_OUT

    kind: Literal["coconut"] = "coconut"
    latents: int = 6
    start: str = "<|start-latent|>"
    end: str = "<|end-latent|>"
    mark: str = "#"

    def __post_init__(self) -> None:
        if self.latents < 0:
            raise UsageError(f"latents must be 0 or more, got {self.latents}")
