"""A source's decoder in torch, frozen, with a prefix in front of its cache.

For training what stands beside the weights: gradients reach the prefix and nothing else. Knows no
text and no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from edgereason.errors import UnsupportedError

from ..graph.rope import rotates, tables
from ..sources.base import Source

KNOWN: Final = ("llama", "qwen2", "qwen3", "smollm3")

Cache = Sequence[tuple[Tensor, Tensor]]  # per layer keys and values, [kv_heads, length, head_dim]


class Decoder:
    """float32, on the CPU or a GPU."""

    def __init__(self, source: Source, device: str = "cpu") -> None:
        arch = source.architecture
        if arch.name not in KNOWN:
            raise UnsupportedError(
                f"models of architecture {arch.name!r} are not known in torch",
                f"known: {', '.join(KNOWN)}",
            )
        self.arch = arch
        self.device = torch.device(device)
        self._weights = {
            name: torch.from_numpy(source.tensor(name)).to(self.device) for name in source.names()
        }
        turns = tables(arch, local=False, context=arch.context)
        self._turns = [torch.from_numpy(table).to(self.device) for table in turns]

    def hidden(self, ids: Tensor, front: Cache, rows: Tensor) -> Tensor:
        """Hidden states after the final norm of the rows that are asked for.

        Args:
            ids: [batch, length], at positions behind those of `front`; padding comes last.
            rows: indices into batch * length.
        """
        return self._run(ids, front, rows)[0]

    def extend(self, ids: Tensor, front: Cache | None) -> Cache:
        """The cache with `ids` [length] put behind `front`. Gradients reach `front`."""
        _, caches = self._run(ids[None], front, torch.zeros(1, dtype=torch.long))
        return [(key[0], value[0]) for key, value in caches]

    def residuals(self, ids: Tensor) -> Tensor:
        """What each layer leaves in the residual stream: [layers, length, num_embd] of `ids`
        [length].
        """
        left: list[Tensor] = []
        with torch.no_grad():
            self._run(ids[None], None, torch.arange(len(ids)), left)
        return torch.stack([each.reshape(len(ids), -1) for each in left])

    def logits(self, hidden: Tensor) -> Tensor:
        """[rows, num_vocab]."""
        head = "token_embd.weight" if self.arch.tied else "output.weight"
        return functional.linear(hidden, self._weights[head])

    def _run(
        self, ids: Tensor, front: Cache | None, rows: Tensor, left: list[Tensor] | None = None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        ids, rows = ids.to(self.device), rows.to(self.device)
        past = front[0][0].shape[1] if front is not None else 0
        length = ids.shape[1]
        positions = torch.arange(past + length, device=self.device)
        mask = positions <= positions[past:, None]
        x = functional.embedding(ids, self._weights["token_embd.weight"])
        x = x * self.arch.embedding_scale
        caches = []
        for i in range(self.arch.num_layers):
            before = front[i] if front is not None else None
            mixed, cache = self._attend(i, self._norm(x, f"blk.{i}.attn_norm"), before, mask)
            x = x + mixed
            caches.append(cache)
            if i == self.arch.num_layers - 1:
                x = x.flatten(0, 1)[rows]  # nobody looks at the others any more
            x = x + self._feed(i, self._norm(x, f"blk.{i}.ffn_norm"))
            if left is not None:
                left.append(x)
        return self._norm(x, "output_norm"), caches

    def _attend(
        self, layer: int, x: Tensor, before: tuple[Tensor, Tensor] | None, mask: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        arch, (batch, length, _) = self.arch, x.shape
        name = f"blk.{layer}.attn_"

        def heads(part: str) -> Tensor:
            parts = self._linear(x, name + part).view(batch, length, -1, arch.head_dim)
            if f"{name}{part}_norm.weight" in self._weights:
                parts = self._norm(parts, f"{name}{part}_norm")
            return parts.transpose(1, 2)

        q, k, v = heads("q"), heads("k"), heads("v")
        if rotates(arch, layer):
            past = mask.shape[1] - length
            q, k = self._rotate(q, past), self._rotate(k, past)
        if before is not None:
            k, v = (
                torch.cat((there.expand(batch, -1, -1, -1), new), dim=2)
                for there, new in zip(before, (k, v), strict=True)
            )
        share = arch.num_heads // arch.num_kv_heads
        out = functional.scaled_dot_product_attention(
            q,
            k.repeat_interleave(share, dim=1),
            v.repeat_interleave(share, dim=1),
            attn_mask=mask,
            scale=arch.attention_scale or None,
        )
        mixed = self._linear(out.transpose(1, 2).reshape(batch, length, -1), name + "output")
        return mixed, (k, v)

    def _rotate(self, x: Tensor, past: int) -> Tensor:
        cos, sin = (table[past : past + x.shape[2]] for table in self._turns)
        low, high = x.chunk(2, dim=-1)
        return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)

    def _feed(self, layer: int, x: Tensor) -> Tensor:
        gate = functional.silu(self._linear(x, f"blk.{layer}.ffn_gate"))
        return self._linear(gate * self._linear(x, f"blk.{layer}.ffn_up"), f"blk.{layer}.ffn_down")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(
            x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias")
        )

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight = self._weights[f"{name}.weight"]
        return functional.rms_norm(x, weight.shape, weight, self.arch.norm_eps)
