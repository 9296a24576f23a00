"""What a model takes, known before it is opened, or even here: weights, KV, parameters.

    size = of_bundle(open_bundle(resolve("smollm2-135m")))
    size.in_format("Q8_0").weight_bytes

Knows no device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edgereason.config import unknown
from edgereason.models.gguf import KV_BYTES

if TYPE_CHECKING:
    from edgereason.models.bundle import Bundle
    from edgereason.models.catalog import Entry

BITS: Final[Mapping[str, float]] = {
    **{"F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.6, "Q5_K_M": 5.7},
    **{"Q4_K_M": 4.85, "IQ4_XS": 4.3, "Q4_1": 5.0, "Q4_0": 4.5, "Q3_K_M": 3.9, "Q2_K": 3.0},
}
"""Bits of a weight, about: a mix takes more for some layers."""

_USUAL: Final = "Q4_K_M"
_OTHER: Final = 16.0  # of a format without a name here
_ONNX: Final = {"INT4": "Q4_0", "INT8": "Q8_0"}  # one scale for 32 weights, as there


@dataclass(frozen=True, slots=True)
class Size:
    """One model in one format. 0: not known.

    Attributes:
        name: of the weights, whatever their format.
        model: what opens it.
        weight_bytes: read in every step.
        kv_bytes: of one token of context, by KV type.
        source: where this is from, for people.
    """

    name: str
    model: str
    format: str
    engine: str
    source: str
    weight_bytes: float = 0.0
    num_parameters: float = 0.0
    context: int = 0
    kv_bytes: Mapping[str, float] | None = None

    def in_format(self, name: str) -> Size:
        """The same weights in another format of GGUF. Nothing says that such a file exists."""
        wanted = name.upper()
        if wanted not in BITS:
            raise unknown("no format called", name, BITS)
        if wanted == self.format:
            return self
        params = self.num_parameters
        weight_bytes = params * BITS[wanted] / 8 or self.weight_bytes * _ratio(wanted, self.format)
        return replace(
            self,
            format=wanted,
            engine="llamacpp",
            weight_bytes=weight_bytes,
            source=f"computed from {self.source}",
        )


def of_bundle(bundle: Bundle) -> Size:
    """Of a model that is here."""
    origin = bundle.base_model.rstrip("/").rpartition("/")[2]
    return Size(
        name=origin or bundle.name,
        model=str(bundle.path) if bundle.path.is_file() else bundle.name,
        format=bundle.quantization.upper(),
        engine=bundle.engine,
        source="its files",
        weight_bytes=float(sum(file.size_bytes for file in bundle.files)),
        num_parameters=float(bundle.num_parameters),
        context=bundle.context,
        kv_bytes={kind: float(size) for kind, size in bundle.kv_bytes_per_token.items()} or None,
    )


def of_catalog(name: str, entry: Entry) -> Size:
    """Of a model that could be pulled: how large its file is, or about how large, in 4 bits where
    its repository has that."""
    format = next((bits for bits in BITS if f".{bits}." in entry.file), "")
    if not entry.file:
        format = _USUAL if not entry.formats or _USUAL in entry.formats else entry.formats[0]
    values = entry.shape.cell_values if entry.shape else 0
    return Size(
        name=entry.origin.rstrip("/").rpartition("/")[2] or name,
        model=name,
        format=format,
        engine="llamacpp",
        source="the catalog",
        weight_bytes=float(entry.estimated_bytes(format)),
        num_parameters=entry.parameters * 1e9,
        context=entry.context,
        kv_bytes={kind: values * each for kind, each in KV_BYTES.items()} if values else None,
    )


def of_shape(
    name: str, model: str, *, num_parameters: float, kv_numbers: float, context: int
) -> Size:
    """Of a config: `kv_numbers` are what one token leaves in the cache over all layers."""
    return Size(
        name=name,
        model=model,
        format="F16",
        engine="llamacpp",
        source="its config.json",
        weight_bytes=num_parameters * BITS["F16"] / 8,
        num_parameters=num_parameters,
        context=context,
        kv_bytes={kind: kv_numbers * each for kind, each in KV_BYTES.items()},
    )


def _ratio(wanted: str, now: str) -> float:
    return BITS[wanted] / BITS.get(_ONNX.get(now, now), _OTHER)


__all__ = ["BITS", "Size", "of_bundle", "of_catalog", "of_shape"]
