"""How adapters are named: `FILE`, or `FILE:strength`. Knows neither control vectors nor LoRA."""

from __future__ import annotations

from math import isfinite, nan
from pathlib import Path

from edgereason.errors import ModelNotFoundError, UsageError


def parse_adapter(text: str, strength: str = "strength", option: str = "") -> tuple[Path, float]:
    """A file and how strongly it acts, 1 where that is not said.

    `strength`: what the number is called where the adapter is asked for; `option`: how to ask.
    Raises UsageError, or ModelNotFoundError where there is no such file.
    """
    name, colon, told = text.rpartition(":")
    if not colon or Path(text).expanduser().is_file():
        name, told = text, "1"
    try:
        number = float(told)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise UsageError(f"the {strength} of an adapter must be a number, got {told!r} in {text!r}")
    path = Path(name).expanduser()
    if not path.is_file():
        raise ModelNotFoundError(
            f"no such adapter: {path}", f"give {option}FILE or FILE:{strength}"
        )
    return path, number
