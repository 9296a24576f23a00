"""What is exported: a model as its shape, its tensors one at a time, and its vocabulary.

    with open_source("smollm2-135m.gguf") as source:
        source.architecture.num_layers
        source.tensor("blk.0.attn_q.weight")    # float32, read now

Tensors have GGUF's names and meaning, linear weights are [out, in]; q and k of `llama` and
`smollm3` are in half-split (NEOX) row order whatever the file has. Knows no target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.errors import BundleError, UnsupportedError
from edgereason.models.variants import Variant

ARCHITECTURES: Final = ("gemma3", "gpt2", "llama", "qwen2", "qwen3", "smollm3")

PERMUTED: Final = ("llama", "smollm3")
"""Architectures whose q and k rows GGUF has in pairs (NORM), where we have halves (NEOX)."""

_MOST: Final = 1 << 24  # no size of a model comes near; a file beyond it is damaged


@dataclass(frozen=True, slots=True)
class Architecture:
    """All that a decoder graph needs to know. One of `ARCHITECTURES`, as GGUF names them.

    Attributes:
        context: tokens; of gpt2 also the number of position embeddings.
        rope_theta: 0: learned positions (gpt2).
        rope_factors: [head_dim / 2] divisors of the frequencies (Llama 3); () none.
        rope_scale: positions are divided by it (linear scaling); of gemma3 on global layers only.
        rope_layers: per layer, whether it rotates q and k (smollm3); () all do.
        local_rope_theta: of sliding layers (gemma3).
        sliding_window: tokens a sliding layer sees, itself included; 0 none.
        sliding_layers: per layer; () none.
        attention_scale: 0: 1/sqrt(head_dim).
        embedding_scale: token embeddings are multiplied by it (gemma3).
        tied: the language head is `token_embd.weight`; there is no `output.weight`.
    """

    name: str
    num_layers: int
    num_embd: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    num_ff: int
    num_vocab: int
    context: int
    norm_eps: float
    rope_theta: float = 0.0
    rope_factors: tuple[float, ...] = ()
    rope_scale: float = 1.0
    rope_layers: tuple[bool, ...] = ()
    local_rope_theta: float = 0.0
    sliding_window: int = 0
    sliding_layers: tuple[bool, ...] = ()
    attention_scale: float = 0.0
    embedding_scale: float = 1.0
    tied: bool = False

    def __post_init__(self) -> None:
        sizes = "num_layers num_embd num_heads num_kv_heads head_dim num_ff num_vocab context"
        for name in sizes.split():
            value = getattr(self, name)
            if not 0 < value <= _MOST:
                raise BundleError(f"the model says {name} is {value}", "its header is damaged")
        if self.num_heads % self.num_kv_heads:
            raise BundleError(
                f"the model says it has {self.num_heads} heads and {self.num_kv_heads} for keys",
                "the second must divide the first",
            )
        for name, expected in (
            ("rope_factors", self.head_dim // 2),
            ("rope_layers", self.num_layers),
            ("sliding_layers", self.num_layers),
        ):
            found = len(getattr(self, name))
            if found not in (0, expected):
                raise BundleError(f"the model has {found} {name}, expected {expected}")


class Source(ABC):
    """A model to be exported. Set by the readers:

    Attributes:
        path: the file or folder it is read from.
        name, licence, base_model: as the model says; "" unknown.
        quantization: how the weights are stored here, e.g. "Q4_1" or "BF16".
        architecture: its shape.
        vocabulary: GGUF's `tokenizer.*` and `general.sampling.*` metadata; token ids, texts and
            merges as lists. The chat template, if any, is `tokenizer.chat_template`.
        variant: how it was changed by training; None for a plain one.
        prefixes: files of prefixes that come with it, which every export of it keeps.
    """

    path: Path
    name: str
    licence: str
    base_model: str
    quantization: str
    architecture: Architecture
    vocabulary: Mapping[str, Any]
    variant: Variant | None
    prefixes: tuple[Path, ...] = ()

    @property
    def chat_template(self) -> str:
        return str(self.vocabulary.get("tokenizer.chat_template", ""))

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, in the order they are best read in."""

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]: ...

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Reads (and dequantizes) one tensor, on each call; a copy that the caller owns.

        Raises BundleError where it holds a NaN or an infinity: one of them in millions of weights
        makes every answer empty.
        """
        read = self._read_tensor(name)
        if not (np.isfinite(read.min(initial=0)) and np.isfinite(read.max(initial=0))):
            raise BundleError(
                f"{name} of {self.path.name} holds numbers that are not finite",
                "fetch the model again, or train it anew",
            )
        return read

    @abstractmethod
    def _read_tensor(self, name: str) -> NDArray[np.float32]: ...

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """What is read: all a resumed export must find unchanged."""

    @property
    @abstractmethod
    def base_hash(self) -> str:
        """Names the weights, for prefixes: the same in every export of them. Reads them all."""

    @property
    def num_parameters(self) -> int:
        return sum(int(np.prod(self.shape(name))) for name in self.names())

    @abstractmethod
    def close(self) -> None:
        """Lets go of what is open; nothing may be read afterwards."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()


def refuse(name: str) -> UnsupportedError:
    """The error for an architecture that is none of ours."""
    return UnsupportedError(
        f"cannot export models of architecture {name!r}",
        f"known: {', '.join(ARCHITECTURES)}; for ONNX, optimum knows more: --to onnx --via optimum",
    )


def halves(weight: NDArray[np.float32], num_heads: int) -> NDArray[np.float32]:
    """Rows of q or k from GGUF's pairs (NORM) to halves (NEOX), head by head."""
    parts = weight.reshape(num_heads, -1, 2, *weight.shape[1:])
    return np.ascontiguousarray(parts.swapaxes(1, 2)).reshape(weight.shape)


def pairs(weight: NDArray[np.float32], num_heads: int) -> NDArray[np.float32]:
    """Rows of q or k from halves (NEOX) to GGUF's pairs (NORM), head by head."""
    parts = weight.reshape(num_heads, 2, -1, *weight.shape[1:])
    return np.ascontiguousarray(parts.swapaxes(1, 2)).reshape(weight.shape)


def pickled(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"{name} is a pickle, which may run code when it is read",
        "give a folder with safetensors; the model's makers may have one",
    )
