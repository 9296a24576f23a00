"""Folders of the user's own, named by `EDGEREASON_MODELS`; `folder:sub/FILE.gguf`.

Bundles in them are opened by their path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgereason.config import env
from edgereason.models.stores.base import Found, model_files

TITLE: Final = "a folder of EDGEREASON_MODELS"


def places() -> tuple[Path, ...]:
    named = (env("models") or "").split(os.pathsep)
    return tuple(Path(each).expanduser() for each in named if each)


def find() -> Iterator[Found]:
    for place in places():
        for path in model_files(place):
            yield Found((f"folder:{path.relative_to(place).as_posix()}",), path)
