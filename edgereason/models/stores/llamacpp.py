"""The cache of llama.cpp's own tools, one flat folder; `llamacpp:FILE.gguf`.

Versions since early 2026 fetch into Hugging Face's cache instead, which `hf.py` looks into.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgereason.config import folder_named
from edgereason.models.stores.base import Found, model_files

TITLE: Final = "llama.cpp's cache"


def places() -> tuple[Path, ...]:
    if chosen := folder_named("LLAMA_CACHE"):
        return (chosen,)
    if sys.platform == "darwin":
        return (Path.home() / "Library" / "Caches" / "llama.cpp",)
    return ((folder_named("XDG_CACHE_HOME") or Path.home() / ".cache") / "llama.cpp",)


def find() -> Iterator[Found]:
    for place in places():
        for path in model_files(place):
            yield Found((f"llamacpp:{path.relative_to(place).as_posix()}",), path)
