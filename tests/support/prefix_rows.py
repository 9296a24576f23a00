"""Prefixes that nobody trained. Needs torch; call `pytest.importorskip` first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgereason.models.prefix_file import Prefix, write_prefix

Floats = NDArray[np.float32]


def made_up(model: Any, num_positions: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Keys and values [layers, kv_heads, num_positions, head_dim]: a real cache, and a bit more."""
    draw = np.random.default_rng(seed)
    ids = torch.from_numpy(draw.integers(6, 390, (1, num_positions)))
    with torch.no_grad():
        layers = model(ids, use_cache=True).past_key_values.layers
    parts = [
        np.stack([getattr(one, part)[0].numpy() for one in layers]) for part in ("keys", "values")
    ]
    keys, values = (
        (part + 0.3 * part.std() * draw.normal(size=part.shape))
        .astype(np.float16)
        .astype(np.float32)
        for part in parts
    )
    return keys, values


def save(path: Path, kv: tuple[Floats, Floats], base: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_prefix(Prefix(path.stem, base, list(kv[0]), list(kv[1])), path)
    return path
