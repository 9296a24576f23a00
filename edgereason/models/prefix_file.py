"""A ReasonCACHE prefix: keys and values, trained against a frozen model, that stand in front of the
cache (paper: 2602.02366). It takes the first `num_positions` positions of every sequence.

The file is safetensors: `layers.{i}.key` and `layers.{i}.value`, each [kv_heads, num_positions,
head_dim], keys as a Hugging Face cache holds them (rotated to their positions, halves and not
pairs). Its metadata name the base model by the hash of its weights, and the number of positions
under `slots`, which is what users call them; `sha256` is that of all the file holds beside it, and
missing in files of early versions. Knows no engine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.errors import BundleError, ModelNotFoundError
from edgereason.models.bundle import Bundle, model_file, sha256_of
from edgereason.models.safetensors import Stored, read_file, write_file

FORMAT: Final = "edgereason-prefix-1"
FOLDER: Final = "prefixes"
_KEYS: Final = ("format", "name", "base", "slots", "task", "training", "sha256")
_NAME: Final = re.compile(r"layers\.(\d+)\.(key|value)")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_F16_MOST: Final = 65504.0
MAX_POSITIONS: Final = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """One prefix, in memory.

    Attributes:
        name: what requests call it.
        base: hash of the weights it was trained for, see `base_hash`.
        keys, values: per layer [kv_heads, num_positions, head_dim], float32.
        task: what it teaches, for people; "" unknown.
        training: figures of its training.
    """

    name: str
    base: str
    keys: Sequence[NDArray[np.float32]]
    values: Sequence[NDArray[np.float32]]
    task: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_positions(self) -> int:
        return int(self.keys[0].shape[1])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Layers, kv_heads, num_positions, head_dim."""
        heads, positions, width = self.keys[0].shape
        return len(self.keys), heads, positions, width


def base_hash(bundle: Bundle) -> str:
    """Names the weights a bundle was made from, however they are stored in it: what the exporter
    wrote, else (a GGUF of somebody else's) the sha256 of the file."""
    if bundle.base_hash:
        return bundle.base_hash
    path = model_file(bundle)
    if path.suffix != ".gguf":
        raise BundleError(
            f"{bundle.name} does not say which weights it was made from", "export it again"
        )
    return bundle.files[0].sha256 or sha256_of(path)


def bundled(folder: Path) -> dict[str, Path]:
    """The prefixes in the folder of a bundle or a model, by name; none beside a bare file."""
    found = folder.glob(f"{FOLDER}/*.safetensors") if folder.is_dir() else ()
    return {path.stem: path for path in sorted(found)}


def check_base(prefix: Prefix, found: str, model: str) -> None:
    """Raises `BundleError` where the prefix was trained for other weights."""
    if prefix.base != found:
        raise BundleError(
            f"prefix {prefix.name} was trained for weights {prefix.base[:12]}, "
            f"{model} has {found[:12]}",
            "a prefix fits the model it was trained for, in any format, and no other",
        )


def read_prefix(path: Path) -> Prefix:
    """Reads all of it. Raises `BundleError` on anything that does not add up."""
    if not path.is_file():
        raise ModelNotFoundError(f"no such prefix: {path}")
    table, told = read_file(path)
    if told.get("format") != FORMAT:
        raise BundleError(
            f"{path.name} is no prefix of edgereason's: its format is {told.get('format')!r}, "
            f"expected {FORMAT!r}",
            "make one with: edgereason distill-prefix",
        )
    if strange := sorted(set(told) - set(_KEYS)):
        raise BundleError(
            f"{path.name} says {strange[0]!r} of itself, which is unknown: it is damaged, or newer",
            "fetch it again, or update edgereason",
        )
    if not _HASH.fullmatch(told.get("base", "")):
        raise BundleError(f"{path.name} does not name its base model", "train it again")
    _check_table(path, table)
    keys, values = (
        [_numbers(path, table[f"layers.{i}.{part}"]) for i in range(len(table) // 2)]
        for part in ("key", "value")
    )
    prefix = Prefix(
        told.get("name") or path.stem,
        told["base"],
        keys,
        values,
        told.get("task", ""),
        _figures(path, told.get("training", "{}")),
    )
    if told.get("slots") != str(prefix.num_positions):
        raise BundleError(
            f"{path.name} has {prefix.num_positions} slots and promises {told.get('slots')}"
        )
    _check_digest(path, table, told)
    return prefix


def write_prefix(prefix: Prefix, path: Path) -> None:
    """Writes float16. Raises `BundleError` on numbers that it cannot hold."""
    tensors = {}
    for i, pair in enumerate(zip(prefix.keys, prefix.values, strict=True)):
        for part, numbers in zip(("key", "value"), pair, strict=True):
            if not np.abs(numbers).max(initial=0.0) <= _F16_MOST:
                raise BundleError(
                    f"layers.{i}.{part} of {prefix.name} holds numbers that float16 cannot",
                    "its training diverged: try a lower learning rate",
                )
            tensors[f"layers.{i}.{part}"] = np.asarray(numbers).astype(np.float16)
    told = {
        "format": FORMAT,
        "name": prefix.name,
        "base": prefix.base,
        "slots": str(prefix.num_positions),
        "task": prefix.task,
        "training": json.dumps(dict(prefix.training)),
    }
    told["sha256"] = _digest({name: each.tobytes() for name, each in tensors.items()}, told)
    write_file(path, tensors, told)


def _check_digest(path: Path, table: Mapping[str, Stored], told: Mapping[str, str]) -> None:
    if "sha256" not in told:
        return
    rest = {key: text for key, text in told.items() if key != "sha256"}
    found = _digest({name: stored.raw() for name, stored in table.items()}, rest)
    if found != told["sha256"]:
        raise BundleError(
            f"{path.name} is damaged: its sha256 is {found}, it promises {told['sha256']}",
            "fetch it again",
        )


def _digest(tensors: Mapping[str, bytes], told: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(told), sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {len(tensors[name])}\n".encode())
        digest.update(tensors[name])
    return digest.hexdigest()


def _check_table(path: Path, table: Mapping[str, Stored]) -> None:
    """All layers are there, keys and values, in one shape."""
    layers = len(table) // 2
    expected = {f"layers.{i}.{part}" for i in range(layers) for part in ("key", "value")}
    wrong = sorted(set(table) ^ expected)
    if not table or wrong:
        what = wrong[0] if wrong else "layers.0.key"
        lacks = "has" if what in table and not _NAME.fullmatch(what) else "lacks, or has too many:"
        raise BundleError(f"{path.name} is no whole prefix: it {lacks} {what}")
    first = table["layers.0.key"].shape
    if len(first) != 3 or min(first) < 1 or first[1] > MAX_POSITIONS:
        raise BundleError(
            f"{path.name}: layers.0.key has shape {first}, expected [kv_heads, slots, head_dim]"
        )
    for name, stored in table.items():
        if stored.shape != first:
            raise BundleError(
                f"{path.name}: {name} has shape {stored.shape}, layers.0.key has {first}"
            )


def _numbers(path: Path, stored: Stored) -> NDArray[np.float32]:
    numbers = stored.read()
    if not np.abs(numbers).max() <= _F16_MOST:
        raise BundleError(
            f"{path.name} holds numbers that are not finite, or that float16 cannot hold",
            "fetch it again",
        )
    return numbers


def _figures(path: Path, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BundleError(f"{path.name} is damaged: its training figures are no JSON object")
    return found
