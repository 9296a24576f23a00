"""Prefixes that come with a model go with every export of it, as they are.

They are trained for weights, not for a format. Knows no target.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from edgereason.models.bundle import File
from edgereason.models.prefix_file import FOLDER, check_base, read_prefix

from ..offline import whole
from ..sources.base import Source


def check_prefixes(source: Source) -> dict[str, int]:
    """Name in the bundle -> bytes. Raises what no engine would load: before any work."""
    for path in source.prefixes:
        check_base(read_prefix(path), source.base_hash, source.name)
    return {_place(path): path.stat().st_size for path in source.prefixes}


def copy_prefixes(source: Source, out: Path) -> tuple[File, ...]:
    """Into the folder that is to become the bundle."""
    for path in source.prefixes:
        (out / FOLDER).mkdir(exist_ok=True)
        with whole(out / _place(path)) as unfinished:
            shutil.copyfile(path, unfinished)
    return tuple(File(_place(path), 0) for path in source.prefixes)


def _place(path: Path) -> str:
    return f"{FOLDER}/{path.name}"
