"""What every bundle says of a source beside its weights: GGUF metadata, `vocab.gguf` (that metadata
without tensors), the manifest.

libllama opens `vocab.gguf` with `vocab_only`, `edgereason.models.bundle` derives a manifest from it
as from a whole model: text to tokens is the same in every engine.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgereason.models.bundle import Bundle, File, open_bundle
from edgereason.models.variants import GGUF_KEY, to_text

from .offline import whole
from .sources.base import Source

if TYPE_CHECKING:
    from gguf import GGUFWriter

_SIGNED: Final = ("general.sampling.top_k", "general.sampling.penalty_last_n")


def write_vocabulary(source: Source, path: Path) -> None:
    """Writes `vocab.gguf`; a few MB, seconds for 150 k tokens."""
    with whole(path) as unfinished:
        writer = open_writer(unfinished, gguf_metadata(source))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()


def gguf_metadata(source: Source) -> dict[str, Any]:
    """All keys but `general.file_type`. Integers are unsigned."""
    arch = source.architecture
    about = {
        "general.architecture": arch.name,
        "general.type": "model",
        "general.name": source.name,
        "edgereason.base": source.base_hash,
    }
    if source.licence:
        about["general.license"] = source.licence
    found: dict[str, Any] = dict(about)
    if source.base_model:
        found |= {"general.base_model.count": 1, "general.base_model.0.name": source.base_model}
    found |= {f"{arch.name}.{key}": value for key, value in _shape(source).items()}
    if source.variant is not None:
        found[GGUF_KEY] = to_text(source.variant)
    return found | dict(source.vocabulary)


def describe(source: Source, header: Path, engine: str, *files: str, quantization: str) -> Bundle:
    """The manifest that follows from a written GGUF or `vocab.gguf`, for a bundle of `files`.

    The first of `files` is what the engine opens; sizes and hashes come when the bundle is written.
    """
    return replace(
        open_bundle(header),
        path=header.parent,
        engine=engine,
        files=tuple(File(name, 0) for name in files),
        base_model=source.base_model or source.name,
        licence=source.licence,
        num_parameters=source.num_parameters,
        quantization=quantization,
    )


def open_writer(path: Path, data: Mapping[str, Any]) -> GGUFWriter:
    """A writer that has all metadata; nothing is written yet."""
    from gguf import GGUFValueType, GGUFWriter

    logging.getLogger("gguf").setLevel(logging.ERROR)
    writer = GGUFWriter(path, str(data["general.architecture"]))
    for key, value in data.items():
        if key == "general.architecture":
            continue
        if isinstance(value, list):
            writer.add_array(key, value)
        else:
            kind = GGUFValueType.get_type(value)
            if type(value) is int and value >= 0 and key not in _SIGNED:
                kind = GGUFValueType.UINT32
            writer.add_key_value(key, value, kind)
    return writer


def _shape(source: Source) -> dict[str, Any]:
    """The keys that libllama reads under the architecture's name."""
    arch = source.architecture
    found: dict[str, Any] = {
        "vocab_size": arch.num_vocab,
        "context_length": arch.context,
        "embedding_length": arch.num_embd,
        "block_count": arch.num_layers,
        "feed_forward_length": arch.num_ff,
        "attention.head_count": arch.num_heads,
        "attention.head_count_kv": arch.num_kv_heads,
    }
    if arch.name == "gpt2":
        return {**found, "attention.layer_norm_epsilon": arch.norm_eps}
    found |= {
        "attention.key_length": arch.head_dim,
        "attention.value_length": arch.head_dim,
        "attention.layer_norm_rms_epsilon": arch.norm_eps,
        "rope.dimension_count": arch.head_dim,
        "rope.freq_base": arch.rope_theta,
    }
    if arch.rope_scale != 1.0:
        found |= {"rope.scaling.type": "linear", "rope.scaling.factor": arch.rope_scale}
    if arch.sliding_window:
        found |= {
            "attention.sliding_window": arch.sliding_window,
            "attention.sliding_window_pattern": list(arch.sliding_layers),
            "rope.freq_base_swa": arch.local_rope_theta,
        }
    return found
