"""Whole models of a few hundred KB with random weights, one for each kind of memory there is.

They say nothing that makes sense, but libllama runs them: what an engine does to KV is tested on
all kinds without a download.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from support.gguf_files import CHATML, F32, string, value

EMBD: Final = 64
HEADS: Final = 4
KV_HEADS: Final = 2
HEAD: Final = EMBD // HEADS
FEED_FORWARD: Final = 128
LAYERS: Final = 2
WINDOW: Final = 8  # tokens a layer of the sliding model looks back

_NORMAL, _CONTROL = 1, 3
_CONTROL_TOKENS: Final = ("<|im_start|>", "<|im_end|>")

Shapes = dict[str, tuple[int, ...]]


def _byte_tokens() -> list[str]:
    """The 256 bytes as GPT-2 writes them: printable ones as themselves, others from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _vocabulary() -> dict[str, Any]:
    tokens = [*_byte_tokens(), "he", *_CONTROL_TOKENS]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [_NORMAL] * 257 + [_CONTROL] * 2,
        "tokenizer.ggml.merges": ["h e"],
        "tokenizer.ggml.bos_token_id": len(tokens) - 2,
        "tokenizer.ggml.eos_token_id": len(tokens) - 1,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHATML,
    }


NUM_VOCAB: Final = 256 + 1 + len(_CONTROL_TOKENS)


def _attention(arch: str) -> dict[str, Any]:
    return {
        f"{arch}.feed_forward_length": FEED_FORWARD,
        f"{arch}.attention.head_count": HEADS,
        f"{arch}.attention.head_count_kv": KV_HEADS,
        f"{arch}.attention.key_length": HEAD,
        f"{arch}.attention.value_length": HEAD,
        f"{arch}.rope.dimension_count": HEAD,
    }


def _transformer_layer() -> Shapes:
    return {
        "attn_norm.weight": (EMBD,),
        "attn_q.weight": (HEADS * HEAD, EMBD),
        "attn_k.weight": (KV_HEADS * HEAD, EMBD),
        "attn_v.weight": (KV_HEADS * HEAD, EMBD),
        "attn_output.weight": (EMBD, HEADS * HEAD),
        "ffn_norm.weight": (EMBD,),
        "ffn_gate.weight": (FEED_FORWARD, EMBD),
        "ffn_up.weight": (FEED_FORWARD, EMBD),
        "ffn_down.weight": (EMBD, FEED_FORWARD),
    }


def _dense() -> tuple[str, dict[str, Any], Shapes]:
    return "llama", _attention("llama"), _transformer_layer()


def _sliding() -> tuple[str, dict[str, Any], Shapes]:
    extra = {
        "attn_q_norm.weight": (HEAD,),
        "attn_k_norm.weight": (HEAD,),
        "post_attention_norm.weight": (EMBD,),
        "post_ffw_norm.weight": (EMBD,),
    }
    says = {**_attention("gemma3"), "gemma3.attention.sliding_window": WINDOW}
    return "gemma3", says, {**_transformer_layer(), **extra}


def _recurrent() -> tuple[str, dict[str, Any], Shapes]:
    inner, state, rank, kernel = 2 * EMBD, 8, 4, 4
    says = {
        "mamba.ssm.conv_kernel": kernel,
        "mamba.ssm.inner_size": inner,
        "mamba.ssm.state_size": state,
        "mamba.ssm.time_step_rank": rank,
        "mamba.feed_forward_length": 0,
        "mamba.attention.head_count": 0,
    }
    layer = {
        "attn_norm.weight": (EMBD,),
        "ssm_in.weight": (2 * inner, EMBD),
        "ssm_conv1d.weight": (inner, kernel),
        "ssm_conv1d.bias": (inner,),
        "ssm_x.weight": (rank + 2 * state, inner),
        "ssm_dt.weight": (inner, rank),
        "ssm_dt.bias": (inner,),
        "ssm_a": (inner, state),
        "ssm_d": (inner,),
        "ssm_out.weight": (EMBD, inner),
    }
    return "mamba", says, layer


KINDS: Final[Mapping[str, Callable[[], tuple[str, dict[str, Any], Shapes]]]] = {
    "dense": _dense,
    "sliding": _sliding,
    "recurrent": _recurrent,
}


def _weights(shapes: Shapes) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    weights = {}
    for name, shape in shapes.items():
        data = rng.standard_normal(shape) / np.sqrt(shape[-1])
        if "norm" in name:
            data = 1 + 0.1 * rng.standard_normal(shape)
        elif name.endswith("ssm_a"):
            data = -np.exp(data)  # states fade
        weights[name] = data.astype(np.float32)
    return weights


Deltas = Mapping[str, NDArray[np.float32]]
"""What is added to weights, by name."""


def write_model(
    path: Path,
    kind: str,
    deltas: Deltas | None = None,
    *,
    parts: int = 0,
    says: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model of one of the `KINDS`, its weights changed by `deltas`, its metadata by
    `says`; over several files, the first without a tensor, where there are to be `parts`."""
    arch, usual, layer = KINDS[kind]()
    shapes: Shapes = {"token_embd.weight": (NUM_VOCAB, EMBD), "output_norm.weight": (EMBD,)}
    for i in range(LAYERS):
        shapes |= {f"blk.{i}.{name}": shape for name, shape in layer.items()}
    data = {
        "general.architecture": arch,
        "general.name": f"tiny {kind}",
        f"{arch}.context_length": 512,
        f"{arch}.block_count": LAYERS,
        f"{arch}.embedding_length": EMBD,
        f"{arch}.attention.layer_norm_rms_epsilon": 1e-5,
        **usual,
        **_vocabulary(),
        **(says or {}),
    }
    weights = _weights(shapes)
    for name, delta in (deltas or {}).items():
        weights[name] = weights[name] + delta
    if not parts:
        path.write_bytes(_gguf(data, weights))
        return path
    names = list(weights)
    for i in range(parts):
        about = {"split.no": np.uint16(i), "split.count": np.uint16(parts)}
        about["split.tensors.count"] = np.int32(len(weights))
        there = {name: weights[name] for name in names[i - 1 :: parts - 1]} if i else {}
        part = path.with_name(f"{path.stem}-{i + 1:05}-of-{parts:05}.gguf")
        part.write_bytes(_gguf({**({} if i else data), **about}, there))
    return path.with_name(f"{path.stem}-00001-of-{parts:05}.gguf")


def write_lora(path: Path, seed: int = 5, rank: int = 4, alpha: float = 8.0) -> Deltas:
    """Writes an adapter for the dense model, as llama.cpp's converter does; returns what it adds to
    the weights at scale 1. It is strong: nearly every token comes out different."""
    rng = np.random.default_rng(seed)
    parts, deltas = {}, {}
    for i in range(LAYERS):
        for name in ("attn_q.weight", "attn_v.weight", "ffn_down.weight"):
            height, width = _transformer_layer()[name]
            a = rng.standard_normal((rank, width)).astype(np.float32) / np.sqrt(width)
            b = rng.standard_normal((height, rank)).astype(np.float32) / np.sqrt(rank)
            weight = f"blk.{i}.{name}"
            parts |= {f"{weight}.lora_a": np.float32(a), f"{weight}.lora_b": np.float32(b)}
            deltas[weight] = np.float32(alpha / rank * (b @ a))
    says = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": alpha,
    }
    path.write_bytes(_gguf(says, parts))
    return deltas


def write_vocab(path: Path, pre: str = "gpt-2") -> Path:
    """Writes the vocabulary of the tiny models alone: a GGUF without a tensor. libllama cuts texts
    into words as it does for models of kind `pre`.
    """
    told = {"general.architecture": "llama", **_vocabulary(), "tokenizer.ggml.pre": pre}
    path.write_bytes(_gguf(told, {}))
    return path


def _gguf(data: Mapping[str, Any], weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(weights), len(data))
    head += b"".join(string(key) + value(item) for key, item in data.items())
    body = b""
    for name, array in weights.items():
        # The file's dimensions run from the fastest to the slowest.
        head += string(name) + struct.pack(f"<I{array.ndim}Q", array.ndim, *array.shape[::-1])
        head += struct.pack("<IQ", F32, len(body))
        raw = array.tobytes()
        body += raw + bytes(-len(raw) % 32)
    return head + bytes(-len(head) % 32) + body
