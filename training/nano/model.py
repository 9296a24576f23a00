"""A Llama decoder in plain torch, small enough to read and to train on two cores.

Parameters carry transformers' names, so that the state dict is a `LlamaForCausalLM` as it stands.
Embeddings come in and hidden states go out, which latent thinking needs. Knows no task, no text.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Cache = list[tuple[Tensor, Tensor]]  # per layer keys and values, [batch, kv_heads, past, head_dim]


@dataclass(frozen=True, slots=True)
class Shape:
    """Every input dimension of a linear layer is a multiple of 256, the block of a K-quant."""

    num_vocab: int = 576
    num_embd: int = 256
    num_layers: int = 4
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 64
    num_ff: int = 512
    context: int = 512
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5


def rotations(shape: Shape) -> Tensor:
    """Cosines and sines of every position, [2, context, head_dim]."""
    half = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
    angles = torch.outer(torch.arange(shape.context).float(), shape.rope_theta**-half)
    angles = torch.cat((angles, angles), dim=1)
    return torch.stack((angles.cos(), angles.sin()))


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """RoPE in the half-split order of transformers. x [batch, heads, length, head_dim]."""
    low, high = x.chunk(2, dim=-1)
    return x * turns[0] + torch.cat((-high, low), dim=-1) * turns[1]


def causal(past: int, length: int, device: torch.device) -> Tensor:
    """[length, past + length], True where the column's row is no later than the row's own."""
    rows = torch.arange(past + length, device=device)
    return rows <= rows[past:, None]


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        kv = shape.num_kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.num_embd, shape.num_heads * shape.head_dim, bias=False)
        self.k_proj = nn.Linear(shape.num_embd, kv, bias=False)
        self.v_proj = nn.Linear(shape.num_embd, kv, bias=False)
        self.o_proj = nn.Linear(shape.num_heads * shape.head_dim, shape.num_embd, bias=False)

    def forward(
        self, x: Tensor, turns: Tensor, past: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, length, _ = x.shape
        heads = (batch, length, -1, self.head_dim)
        q = rotate(self.q_proj(x).view(heads).transpose(1, 2), turns)
        k = rotate(self.k_proj(x).view(heads).transpose(1, 2), turns)
        v = self.v_proj(x).view(heads).transpose(1, 2)
        q, k = q.to(v.dtype), k.to(v.dtype)  # autocast leaves the rotation in float32
        if past is not None:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        out = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None and length > 1, enable_gqa=True
        )
        return self.o_proj(out.transpose(1, 2).reshape(batch, length, -1)), (k, v)


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.num_embd, shape.num_ff, bias=False)
        self.up_proj = nn.Linear(shape.num_embd, shape.num_ff, bias=False)
        self.down_proj = nn.Linear(shape.num_ff, shape.num_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.num_embd, shape.norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.num_embd, shape.norm_eps)
        self.mlp = FeedForward(shape)

    def forward(
        self, x: Tensor, turns: Tensor, past: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        mixed, cache = self.self_attn(self.input_layernorm(x), turns, past, mask)
        x = x + mixed
        return x + self.mlp(self.post_attention_layernorm(x)), cache


class Body(nn.Module):
    """Everything between the token ids and the head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.num_vocab, shape.num_embd)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_layers))
        self.norm = nn.RMSNorm(shape.num_embd, shape.norm_eps)


class Nano(nn.Module):
    turns: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Body(shape)
        self.register_buffer("turns", rotations(shape), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = 0.02 / (2 * shape.num_layers) ** 0.5 if last else 0.02
                nn.init.normal_(weight, std=std)

    @property
    def device(self) -> torch.device:
        return self.turns.device

    def embed(self, ids: Tensor) -> Tensor:
        rows: Tensor = self.model.embed_tokens(ids)
        return rows

    def forward(
        self,
        embeds: Tensor,
        cache: Cache | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Cache]:
        """Hidden states after the final norm, and the cache with these rows added.

        Args:
            embeds: [batch, length, num_embd].
            mask: bool [batch, 1, length, past + length], True: sees; causal where None. Padding in
                front of a prompt needs nothing else: rotations only know distances.
        """
        past = cache[0][0].shape[2] if cache else 0
        length = embeds.shape[1]
        turns = self.turns[:, past : past + length]
        if past and mask is None and length > 1:
            mask = causal(past, length, embeds.device)
        x, grown = embeds, []
        for i, layer in enumerate(self.model.layers):
            x, rows_kv = layer(x, turns, cache[i] if cache else None, mask)
            grown.append(rows_kv)
        hidden: Tensor = self.model.norm(x)
        return hidden, grown

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.model.embed_tokens.weight)
