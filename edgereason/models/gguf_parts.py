"""Models split over several GGUF files: `NAME-00001-of-00003.gguf` and so on.

The first is what is named and opened; libllama finds the others beside it. Knows names, not what is
in the files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from edgereason.errors import BundleError

_PART: Final = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


def is_first(path: Path) -> bool:
    """Also of a model in one file."""
    match = _PART.fullmatch(path.name)
    return match is None or int(match[2]) == 1


def stem(name: str) -> str:
    """A file's name without suffix and number."""
    match = _PART.fullmatch(name)
    return match[1] if match else name.removesuffix(".gguf")


def there(path: Path) -> list[Path]:
    """All parts in order, whether they exist or not; the file itself where it is no part."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return [path]
    num = int(match[3])
    return [path.with_name(f"{match[1]}-{i:05}-of-{num:05}.gguf") for i in range(1, num + 1)]


def check(path: Path, num_parts: int) -> list[Path]:
    """The parts of the model that starts in `path`, whose header speaks of `num_parts`
    (0 or 1: of none).

    Raises `BundleError` where it is not the first, one is missing, or the name hides the others.
    """
    if not is_first(path):
        first = there(path)[0].name
        raise BundleError(f"{path.name} is not the first part of its model", f"give {first}")
    parts = there(path)
    if num_parts > 1 and len(parts) != num_parts:
        raise BundleError(
            f"{path.name} is one of {num_parts} parts, its name says {len(parts)}",
            f"rename the parts to NAME-00001-of-{num_parts:05}.gguf and so on",
        )
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise BundleError(
            f"the model is split over {len(parts)} files, missing: {', '.join(missing)}",
            f"put them beside {path.name}",
        )
    return parts
