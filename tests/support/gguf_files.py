"""Writes small GGUF files for tests: real headers, weights of zeros."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

F32 = 0
_CODES = {0: "B", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 12: "d"}

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOKENS = ("<unk>", "<|im_start|>", "<|im_end|>", "a", "b", "<think>", "</think>", "  ")
TOKEN_TYPES = (2, 3, 3, 1, 1, 4, 4, 4)  # unknown, control, normal, user-defined


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


_SCALARS: Mapping[type, tuple[int, str]] = {
    bool: (7, "?"),
    int: (4, "I"),
    float: (6, "f"),
    np.uint16: (2, "H"),
    np.int32: (5, "i"),
}


def value(item: Any) -> bytes:
    """A value with its type: int as u32, a list as an array of what its first item is."""
    if type(item) in _SCALARS:
        kind, code = _SCALARS[type(item)]
        return struct.pack("<I", kind) + struct.pack(f"<{code}", item)
    if isinstance(item, str):
        return struct.pack("<I", 8) + string(item)
    if isinstance(item[0], str):
        return struct.pack("<IIQ", 9, 8, len(item)) + b"".join(map(string, item))
    return struct.pack(f"<IIQ{len(item)}i", 9, 5, len(item), *item)


def metadata(template: str = CHATML, **more: Any) -> dict[str, Any]:
    """What a small llama-like model says of itself."""
    return {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "general.license": "mit",
        "general.file_type": 1,
        "llama.context_length": 512,
        "llama.block_count": 2,
        "llama.embedding_length": 16,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.tokens": list(TOKENS),
        "tokenizer.ggml.token_type": list(TOKEN_TYPES),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": template,
        **{key.replace("__", "."): item for key, item in more.items()},
    }


def gguf_bytes(
    data: Mapping[str, Any] | None = None,
    tensors: Sequence[tuple[str, tuple[int, ...]]] = (("w", (16, 8)), ("b", (16,))),
    version: int = 3,
) -> bytes:
    data = metadata() if data is None else data
    head = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(data))
    head += b"".join(string(key) + value(item) for key, item in data.items())
    offset, body = 0, b""
    for name, shape in tensors:
        size = 4
        for width in shape:
            size *= width
        head += string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", F32, offset)
        body += bytes(size) + bytes(-size % 32)
        offset = len(body)
    return head + bytes(-len(head) % 32) + body


def write_gguf(path: Path, data: Mapping[str, Any] | None = None) -> Path:
    path.write_bytes(gguf_bytes(data))
    return path
