"""Rotary positions as tables: what to turn a pair of numbers by, for each position.

Half-split (NEOX) form: number j turns with number j + head_dim / 2. Knows no graph.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..sources.base import Architecture

Floats = NDArray[np.float32]


def rotates(arch: Architecture, layer: int) -> bool:
    return arch.rope_theta > 0 and (not arch.rope_layers or arch.rope_layers[layer])


def slides(arch: Architecture, layer: int) -> bool:
    """Whether a layer sees the last `sliding_window` tokens only."""
    return bool(arch.sliding_window and arch.sliding_layers and arch.sliding_layers[layer])


def tables(arch: Architecture, *, local: bool, context: int) -> tuple[Floats, Floats]:
    """Cosines and sines [context, head_dim / 2]; `local` ones are those of sliding layers."""
    theta = (arch.local_rope_theta or arch.rope_theta) if local else arch.rope_theta
    scale = 1.0 if local and arch.local_rope_theta else arch.rope_scale
    frequencies = theta ** (-np.arange(0, arch.head_dim, 2) / arch.head_dim) / scale
    if arch.rope_factors:
        frequencies /= np.asarray(arch.rope_factors)
    angles = np.arange(context)[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
