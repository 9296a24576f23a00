"""What was measured of models on this machine, by name: what steps cost, and how to open them best.

Kept with other measurements (`measured.py`). Knows no engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgereason.config import build
from edgereason.errors import UsageError
from edgereason.planning import measured
from edgereason.planning.cost import Cost

if TYPE_CHECKING:
    from edgereason.models.bundle import Bundle

_COST: Final = "step_cost"
_TUNED: Final = "tuned"

# Options of engines that change how much fits, not what a step costs.
_SIZES: Final = ("context", "sequences", "memory_gib", "mmap", "trace", "prefixes")


def way_of_opening(engine: str, options: Mapping[str, Any], threads: int = 0) -> str:
    """Names all that a step's cost depends on besides the model."""
    told = {name: str(value) for name, value in sorted(options.items()) if name not in _SIZES}
    return json.dumps([engine, threads, told])


@dataclass(frozen=True, slots=True)
class Choice:
    """How a model is best opened on this machine while so many cores are busy.

    Attributes:
        model: the file to open: the model itself, or one made of it.
        options: of `Reasoner.open`, `engine` and `threads` among them.
        speed: times the default's tokens a second; its 90 % interval.
        kl: mean KL divergence from the model itself, nats; 0 for itself.
    """

    busy_cores: int
    model: str
    format: str
    options: Mapping[str, Any] = field(default_factory=dict)
    speed: float = 1.0
    speed_low: float = 1.0
    speed_high: float = 1.0
    kl: float = 0.0
    most_kl: float = 0.0


def save_cost(bundle: Bundle, cost: Cost, opening: str) -> None:
    """Raises `OSError`."""
    measured.write(bundle, _COST, {"opening": opening, "cost": asdict(cost)})


def load_cost(bundle: Bundle, opening: str | None = None) -> Cost | None:
    """None: not measured, or with other options than `opening`, or it cannot be read."""
    found = measured.read(bundle, _COST)
    if opening is not None and found.get("opening") != opening:
        return None
    try:
        return build(Cost, found["cost"], what="key")
    except (KeyError, AttributeError, UsageError):
        return None


def save_tuned(bundle: Bundle, choices: tuple[Choice, ...]) -> None:
    """Raises `OSError`."""
    measured.write(bundle, _TUNED, {"choices": [asdict(choice) for choice in choices]})


def load_tuned(bundle: Bundle) -> tuple[Choice, ...]:
    """Empty: never tuned, or it cannot be read."""
    found = measured.read(bundle, _TUNED).get("choices", [])
    try:
        return tuple(build(Choice, choice, what="key") for choice in found)
    except (TypeError, AttributeError, UsageError):
        return ()


__all__ = ["Choice", "load_cost", "load_tuned", "save_cost", "save_tuned", "way_of_opening"]
