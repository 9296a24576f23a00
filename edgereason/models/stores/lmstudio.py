"""LM Studio: `models/publisher/repository/FILE.gguf`; `lmstudio:publisher/repository/FILE.gguf`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgereason.models.stores.base import Found, model_files

TITLE: Final = "LM Studio's folder"


def places() -> tuple[Path, ...]:
    home = Path.home()
    try:  # where it says that it has moved to
        moved = Path((home / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        moved = home / ".lmstudio"
    # The last is where versions before 0.3 kept them.
    return (moved / "models", home / ".cache" / "lm-studio" / "models")


def find() -> Iterator[Found]:
    for place in places():
        for path in model_files(place):
            yield Found((f"lmstudio:{path.relative_to(place).as_posix()}",), path)
