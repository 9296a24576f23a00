"""How a model was changed by training, as far as its use depends on it: a bundle's `variant`.

    config.json  {"edgereason": {"variant": {"kind": "coconut", "latents": 6}}}

The same object stands in `edgereason.json` under `variant`, and as JSON text in a GGUF's metadata
under `edgereason.variant`. A kind is a file of this folder, named after the strategy that fits,
with one name:

    @dataclass(frozen=True, slots=True)
    class Variant:
        needs: ClassVar = Capability.LOGITS    # what thinking as it was trained to takes
        kind: Literal["x"] = "x"               # the name of the file
        steps: int = 6                         # each further field is a key of the object

Knows no file format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Final, Protocol

from edgereason.config import build, unknown
from edgereason.errors import UsageError
from edgereason.records import Capability
from edgereason.registry import load, names

GGUF_KEY: Final = "edgereason.variant"

_FOLDER: Final = __name__.rpartition(".")[0]


class Variant(Protocol):
    """Any of them."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    needs: ClassVar[Capability]

    @property
    def kind(self) -> str: ...


def read_variant(data: Any) -> Variant | None:
    """The variant that a manifest or a config says; None for "base" and where nothing is said."""
    if data is None:
        return None
    if not isinstance(data, Mapping):
        raise UsageError(f"variant must be a table, got {data!r}")
    kind = str(data.get("kind", ""))
    if kind == "base":
        return None
    kinds = [name.replace("-", "_") for name in names(_FOLDER)]
    if kind not in kinds:
        raise unknown("unknown variant", kind, (*kinds, "base"))
    variant: Variant = build(load(_FOLDER, kind).Variant, data, what="key", where="variant")
    return variant


def to_text(variant: Variant) -> str:
    """For GGUF's metadata."""
    return json.dumps(asdict(variant), ensure_ascii=False)


def from_text(text: str) -> Variant | None:
    """What `to_text` wrote; None for ""."""
    if not text:
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{GGUF_KEY} is not JSON: {error}") from None
    return read_variant(data)
