"""A control vector from two sets of replies: what the wanted ones leave in the residual stream,
less what the others do (mean difference; Representation Engineering, https://arxiv.org/abs/2310.01405).

Layer by layer the direction has the length of the mean state there, so that a strength is a share
of the state. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgereason.errors import UsageError
from edgereason.models.steering_file import Steering

from ..offline import Progress
from ..sources.base import Source
from .demos import Example, encode, read_demos
from .torch_decoder import Decoder


@dataclass(frozen=True, slots=True)
class Options:
    """`layers`: first and last that are steered; None: the middle third. `tokens`: the first of
    each reply that are compared; 0: all. Where the replies of one set are longer, all of them tell
    rather how the end of a reply differs from its beginning."""

    layers: tuple[int, int] | None = None
    thinking: bool | None = None
    tokens: int = 0


def steer(
    source: Source, toward: Path, away: Path, options: Options, progress: Progress
) -> Steering:
    """Raises `UsageError` where the layers are not the model's, or the sets do not differ."""
    first, last = _layers(options.layers, source.architecture.num_layers)
    if options.tokens < 0:
        raise UsageError(f"tokens must be 0 (all) or more, got {options.tokens}")
    decoder = Decoder(source)
    sets = []
    for name, path in (("wanted", toward), ("unwanted", away)):
        demos, _ = read_demos(path)
        examples = [
            _begun(each, options.tokens) for each in encode(source, demos, options.thinking)
        ]
        sets.append(_states(decoder, examples, name, progress))
    (wanted, long), (unwanted, _) = sets
    rows = wanted - unwanted
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.all(sizes > 0):
        raise UsageError("both sets leave the same states", "give replies that differ")
    rows *= long[:, None] / sizes
    rows[:first] = 0
    rows[last + 1 :] = 0
    return Steering(source.architecture.name, rows.astype(np.float32))


def _begun(example: Example, num: int) -> Example:
    """With the first `num` tokens of the reply alone."""
    return replace(example, tokens=example.tokens[: example.begin + num]) if num else example


def _layers(asked: tuple[int, int] | None, num: int) -> tuple[int, int]:
    """Layer 0 is never steered: libllama adds nothing there."""
    first, last = asked or (max(1, num // 3), max(1, 2 * num // 3))
    if not 1 <= first <= last < num:
        raise UsageError(f"layers must lie in 1 to {num - 1}, first to last, got {first} to {last}")
    return first, last


def _states(
    decoder: Decoder, examples: Sequence[Example], name: str, progress: Progress
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean state of the replies' tokens behind each layer, [layers, num_embd], each reply
    counting the same, and the mean length of a state, [layers]."""
    means, lengths = [], []
    for number, example in enumerate(examples):
        progress(f"reading the {name} replies", number, len(examples))
        left = decoder.residuals(torch.tensor(example.tokens))[:, example.begin :].double()
        means.append(left.mean(dim=1).numpy())
        lengths.append(left.norm(dim=2).mean(dim=1).numpy())
    return np.mean(means, axis=0), np.mean(lengths, axis=0)
