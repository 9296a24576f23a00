"""What changes a model for single requests: control vectors and LoRA adapters, with strengths.

    adapters = Adapters(bundle, core, caps)
    key = adapters.get(("short.gguf:2.0", "style.gguf"))     # the context key of such requests

A key stands for the sum of the vectors and the adapters with their scales; requests of equal sums
share their KV. What adds up to nothing is key 0, the model as it was opened. Knows no request.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgereason.errors import BundleError, UnsupportedError
from edgereason.models import gguf
from edgereason.models.adapter_file import parse_adapter
from edgereason.models.bundle import Bundle
from edgereason.models.steering_file import ARCHITECTURE, read_steering
from edgereason.records import Capability

if TYPE_CHECKING:
    from edgereason._core import Scheduler

Rows = NDArray[np.float32]


class Adapters:
    def __init__(self, bundle: Bundle, core: Scheduler, caps: Capability) -> None:
        self._bundle, self._core, self._caps = bundle, core, caps
        self._lock = threading.Lock()
        self._loaded: dict[int, bool] = {}  # key -> whether weights are changed

    def get(self, texts: Sequence[str]) -> int:
        """The key of these adapters, each FILE or FILE:strength. Loads what is new."""
        loras: defaultdict[Path, float] = defaultdict(float)
        rows: list[Rows] = []
        for text in texts:
            path, strength = parse_adapter(text)
            if gguf.read(path).architecture == ARCHITECTURE:
                rows.append(self._steering(path) * np.float32(strength))
            else:
                loras[path.resolve()] += self._checked(path, strength)
        steering = _sum(rows)
        scales = {path: scale for path, scale in loras.items() if scale}
        key = _key(steering, scales)
        with self._lock:
            if key and key not in self._loaded:
                self._core.add_adapters(key, loras=scales.items(), steering=steering)
                self._loaded[key] = bool(scales)
        return key

    def changes_weights(self, key: int) -> bool:
        """LoRA adapters are among those of this key."""
        return self._loaded.get(key, False)

    def _steering(self, path: Path) -> Rows:
        self._need(Capability.STEER, path)
        found = read_steering(path)
        if found.made_for and found.made_for != self._bundle.architecture:
            raise BundleError(
                f"{path.name} was made for architecture {found.made_for}, "
                f"{self._bundle.name} is {self._bundle.architecture}",
                "a control vector fits the model it was made from and no other",
            )
        return found.rows

    def _checked(self, path: Path, strength: float) -> float:
        self._need(Capability.LORA, path)
        kind = gguf.read(path).text("general.type")
        if kind != "adapter":
            raise BundleError(
                f"{path.name} is neither a control vector nor a LoRA adapter",
                f"its general.type is {kind!r}",
            )
        return strength

    def _need(self, capability: Capability, path: Path) -> None:
        if capability not in self._caps:
            raise UnsupportedError(
                f"engine {self._bundle.engine} takes no adapters for single requests, "
                f"as {path.name} is",
                "open the model with llamacpp",
            )


def _sum(rows: Sequence[Rows]) -> Rows | None:
    """Of vectors of any number of layers; None where nothing is left."""
    if not rows:
        return None
    if len({each.shape[1] for each in rows}) > 1:
        raise BundleError("the control vectors are of models of several widths")
    total = np.zeros((max(map(len, rows)), rows[0].shape[1]), np.float32)
    for each in rows:
        total[: len(each)] += each
    return total if np.any(total) else None


def _key(steering: Rows | None, scales: dict[Path, float]) -> int:
    if steering is None and not scales:
        return 0
    told = hashlib.sha256(b"" if steering is None else steering.tobytes())
    for path, scale in sorted(scales.items()):
        told.update(f"{path}\0{scale!r}\0{path.stat().st_mtime_ns}\0".encode())
    return int.from_bytes(told.digest()[:8], "little") or 1


__all__ = ["Adapters"]
