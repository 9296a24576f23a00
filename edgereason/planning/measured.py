"""What was measured of a model on this machine, kept from run to run.

One small JSON file a model in the cache, never in the bundle, whose hashes are promises. It is a
help and no more: where it is missing, damaged or cannot be written, things are measured anew.
Knows nothing of what is measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgereason import files
from edgereason.config import measured_dir

if TYPE_CHECKING:
    from edgereason.models.bundle import Bundle

FORMAT: Final = 1


def file_of(bundle: Bundle) -> Path:
    """Where a model's measurements are. Another file of weights is another model."""
    said = repr((bundle.files, bundle.quantization, bundle.engine))
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in bundle.name)[:80]
    return measured_dir() / f"{safe}-{hashlib.sha256(said.encode()).hexdigest()[:12]}.json"


def read(bundle: Bundle, what: str) -> Mapping[str, Any]:
    """What is known of `what`; empty where nothing is."""
    found = _read_all(file_of(bundle)).get(what, {})
    return found if isinstance(found, dict) else {}


def write(bundle: Bundle, what: str, data: Mapping[str, Any]) -> None:
    """Keeps `data` as what is known of `what`, whole or not at all. Raises `OSError`."""
    path = file_of(bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    everything = {**_read_all(path), "format": FORMAT, what: dict(data)}
    with files.replacing(path) as file:
        file.write((json.dumps(everything, indent=1) + "\n").encode())


def _read_all(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) and data.get("format") == FORMAT else {}
