"""ONNX folders that other tools wrote: which graph, how much context, which vocabulary.

Known are the layouts of optimum (`model.onnx`, `decoder_model_merged.onnx`), of onnx-community
(`onnx/model_q4.onnx` under the folder of the tokenizer) and of onnxruntime-genai's builder
(`genai_config.json`). The folder is only read. What libllama needs to turn text into tokens is
written once into a cache of ours. Does not open graphs: what they can do, the engine finds out.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgereason.config import cache_dir
from edgereason.errors import BundleError, ModelNotFoundError, UnsupportedError
from edgereason.models.hf_tokenizer import read_settings

_CONFIG: Final = "config.json"
_GENAI: Final = "genai_config.json"
_TOKENIZER: Final = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_TEXTS: Final = (*_TOKENIZER, _CONFIG, _GENAI, "generation_config.json", "chat_template.jinja")
_SUBFOLDER: Final = "onnx"
_GRAPH: Final = re.compile(r"(?:decoder_)?(?:model|with_past_model)(?:_merged)?(?:_(\w+))?\.onnx")
_WRITER: Final = 1  # of vocabularies; a new number makes them anew


@dataclass(frozen=True, slots=True)
class OnnxFolder:
    """One model.

    Attributes:
        files: relative to the folder; the graph first, then its weights.
        context, num_kv_heads, head_dim: 0 where nothing says it.
    """

    folder: Path
    files: tuple[str, ...]
    name: str
    architecture: str
    quantization: str
    context: int
    num_vocab: int
    num_kv_heads: int
    head_dim: int
    eos_tokens: tuple[int, ...]


def is_folder(path: Path) -> bool:
    """Whether it holds a decoder of another tool's."""
    return path.is_dir() and bool(_graphs(path))


def is_decoder(path: Path) -> bool:
    """Whether an `.onnx` file is a decoder with its configuration beside it."""
    return path in _graphs(_root_of(path))


def read(path: Path) -> OnnxFolder:
    """`path` is the folder, or one of the graphs in it."""
    graph = path if path.is_file() else _only_graph(path)
    root = _root_of(graph)
    config = _config(root)
    weights = sorted(
        other
        for other in graph.parent.iterdir()
        if other.name.startswith((f"{graph.name}.data", f"{graph.name}_data"))
    )
    kind = _GRAPH.fullmatch(graph.name)
    return OnnxFolder(
        folder=root,
        files=tuple(each.relative_to(root).as_posix() for each in (graph, *weights)),
        name=f"{root.resolve().name}" + (f"-{kind[1]}" if kind and kind[1] else ""),
        architecture=str(config.get("model_type") or config.get("type") or ""),
        quantization=kind[1].upper() if kind and kind[1] else "",
        context=_count(config, "max_position_embeddings", "context_length", "n_positions"),
        num_vocab=_count(config, "vocab_size"),
        num_kv_heads=_count(config, "num_key_value_heads", "num_attention_heads", "n_head"),
        head_dim=_count(config, "head_size", "head_dim") or _head_dim(config),
        eos_tokens=_ends(config),
    )


def vocabulary(model: OnnxFolder) -> Path:
    """A GGUF with the folder's tokens and chat template and no weights, made where it is missing.

    Its name follows from what it is made of, so that a folder that has changed gets a new one.
    """
    from edgereason.models.hf_tokenizer import read_vocabulary

    digest = hashlib.sha256(f"{_WRITER} {model.num_vocab} {model.eos_tokens}".encode())
    for name in _TEXTS:
        path = model.folder / name
        digest.update(path.read_bytes() if path.is_file() else b"-")
    made = cache_dir() / "vocabularies" / f"{digest.hexdigest()}.gguf"
    if made.is_file():
        return made
    if not model.num_vocab:
        raise BundleError(f"{model.folder} does not say how many tokens it knows: no vocab_size")
    config = _config(model.folder)
    if model.eos_tokens:
        config["eos_token_id"] = model.eos_tokens[0]
    data = read_vocabulary(model.folder, config, model.num_vocab)
    if len(model.eos_tokens) > 1:
        data["tokenizer.ggml.eot_token_id"] = model.eos_tokens[1]
    _write(made, data)
    return made


def _write(made: Path, data: Mapping[str, Any]) -> None:
    try:
        from gguf import GGUFValueType, GGUFWriter
    except ImportError:
        raise UnsupportedError(
            "an ONNX folder of another tool needs the package gguf, which is not installed",
            "pip install 'edgereason[onnx]'",
        ) from None
    made.parent.mkdir(parents=True, exist_ok=True)
    unfinished = made.with_name(f".{made.name}.{os.getpid()}.part")
    writer = GGUFWriter(unfinished, "llama")  # any that libllama knows; it reads tokens only
    for key, value in data.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        else:
            kind = GGUFValueType.get_type(value)
            unsigned = type(value) is int and key.startswith("tokenizer.")
            writer.add_key_value(key, value, GGUFValueType.UINT32 if unsigned else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.replace(unfinished, made)


# --- which graph ----------------------------------------------------------------------------------


def _root_of(graph: Path) -> Path:
    above = graph.parent.name == _SUBFOLDER and not _has_config(graph.parent)
    return graph.parent.parent if above else graph.parent


def _has_config(folder: Path) -> bool:
    return (folder / _CONFIG).is_file() or (folder / _GENAI).is_file()


def _graphs(root: Path) -> list[Path]:
    """The decoders of a folder, sorted; those that cannot carry a conversation on are left out."""
    if not _has_config(root):
        return []
    if (root / _GENAI).is_file():
        graph = root / _genai_graph(root)
        return [graph] if graph.is_file() else []
    found = [*root.glob("*.onnx"), *(root / _SUBFOLDER).glob("*.onnx")]
    return sorted(
        path for path in found if _GRAPH.fullmatch(path.name) and path.name != "decoder_model.onnx"
    )


def _genai_graph(root: Path) -> str:
    decoder = (read_settings(root / _GENAI).get("model") or {}).get("decoder") or {}
    return str(decoder.get("filename") or "model.onnx")


def _only_graph(folder: Path) -> Path:
    found = _graphs(folder)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelNotFoundError(f"{folder} has no decoder graph")
    there = ", ".join(path.relative_to(folder).as_posix() for path in found)
    raise ModelNotFoundError(
        f"{folder} has {len(found)} graphs", f"name one, as {found[0]}; there are: {there}"
    )


# --- what is said of it ---------------------------------------------------------------------------


def _config(root: Path) -> dict[str, Any]:
    """All that is said of the model; `genai_config.json` wins, it was written last."""
    config = read_settings(root / _CONFIG)
    inner = config.get("text_config")
    genai = read_settings(root / _GENAI).get("model") or {}
    decoder = genai.get("decoder") or {}
    return {
        **config,
        **(inner if isinstance(inner, dict) else {}),
        **{key: value for key, value in decoder.items() if type(value) is int},
        **{key: value for key, value in genai.items() if not isinstance(value, dict)},
    }


def _ends(config: Mapping[str, Any]) -> tuple[int, ...]:
    told = config.get("eos_token_id")
    ends = told if isinstance(told, list) else [told]
    return tuple(end for end in ends if type(end) is int)


def _head_dim(config: Mapping[str, Any]) -> int:
    heads = _count(config, "num_attention_heads", "n_head")
    return _count(config, "hidden_size", "n_embd") // heads if heads else 0


def _count(config: Mapping[str, Any], *keys: str) -> int:
    found = (config[key] for key in keys if type(config.get(key)) is int)
    return max(next(found, 0), 0)
