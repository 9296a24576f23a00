"""A prefix-tuning adapter of PEFT as a prefix file.

Its one tensor, `prompt_embeddings` [positions, layers * 2 * kv_heads * head_dim], is what PEFT puts
into the cache: of each layer the keys, then the values. Pickles are not opened. Knows no training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edgereason import files
from edgereason.errors import BundleError, ModelNotFoundError, UnsupportedError, UsageError
from edgereason.models.prefix_file import MAX_POSITIONS, Prefix, read_prefix, write_prefix
from edgereason.models.safetensors import read_table

from ..sources.base import Source, pickled

_CONFIG: Final = "adapter_config.json"
_WEIGHTS: Final = "adapter_model.safetensors"
_TENSOR: Final = "prompt_embeddings"


def convert(folder: Path, source: Source, out: Path, *, force: bool) -> Prefix:
    """Writes `out` for the weights of `source`, which the adapter names by nothing but a path."""
    if out.exists() and not force:
        raise UsageError(f"{out} is there already", "give another --out, or --force to replace it")
    config = _config(folder)
    if config.get("peft_type") != "PREFIX_TUNING":
        raise UnsupportedError(
            f"{folder.name} is an adapter of kind {config.get('peft_type')!r}",
            "only PREFIX_TUNING becomes a prefix; merge others into the model",
        )
    if config.get("task_type") not in (None, "CAUSAL_LM"):
        raise UnsupportedError(f"{folder.name} was trained for {config['task_type']!r}")
    arch = source.architecture
    if arch.name == "gpt2" or arch.sliding_window:
        raise UnsupportedError(f"models of architecture {arch.name!r} take no prefixes")
    rows = _rows(folder, config, 2 * arch.num_layers * arch.num_kv_heads * arch.head_dim, source)
    parts = rows.reshape(len(rows), arch.num_layers, 2, arch.num_kv_heads, arch.head_dim)
    parts = parts.transpose(1, 2, 3, 0, 4)
    made = Prefix(
        out.stem,
        source.base_hash,
        list(parts[:, 0]),
        list(parts[:, 1]),
        training={"adapter": str(config.get("base_model_name_or_path", ""))},
    )
    write_prefix(made, out)
    return read_prefix(out)


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        return files.read_json(folder / _CONFIG)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelNotFoundError(
            f"{folder} is no adapter: it has no {_CONFIG}", "give a folder that PEFT saved"
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read {folder / _CONFIG}: {error}") from None


def _rows(folder: Path, config: Mapping[str, Any], width: int, source: Source) -> Any:
    weights = folder / _WEIGHTS
    if not weights.is_file():
        if (folder / "adapter_model.bin").is_file():
            raise pickled("adapter_model.bin")
        raise BundleError(f"{folder.name} has no {_WEIGHTS}", "a file of it is missing")
    table = read_table(weights)
    if set(table) != {_TENSOR}:
        there = ", ".join(sorted(table)) or "nothing"
        raise BundleError(f"{_WEIGHTS} holds {there}, expected {_TENSOR}")
    stored = table[_TENSOR]
    told, found = config.get("num_virtual_tokens"), stored.shape[:1]
    if len(stored.shape) != 2 or found != (told,) or not 1 <= found[0] <= MAX_POSITIONS:
        raise BundleError(f"{_TENSOR} has shape {stored.shape}, the adapter says {told!r} tokens")
    layers = source.architecture.num_layers
    if stored.shape[1] != width or config.get("num_layers") not in (None, layers):
        raise BundleError(
            f"a slot of {folder.name} has {stored.shape[1]:,} numbers in "
            f"{config.get('num_layers')} layers, {source.name} takes {width:,} in {layers}",
            "give the model that it was trained for",
        )
    return stored.read()
