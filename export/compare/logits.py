"""How far models lie apart on a text: logits, KL divergence, greedy tokens, perplexity.

All models read the same windows of tokens side by side, on whatever engine each was made for; one
step's logits of each are held at a time. Knows no files but bundles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgereason import engines
from edgereason.errors import UnsupportedError
from edgereason.models.bundle import Bundle
from edgereason.registry import load

from ..offline import Progress
from ..windows import STEP, WINDOW, WindowReader, steps_of

if TYPE_CHECKING:
    from edgereason._core import Engine

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Difference:
    """One model against the first, over all tokens of a text.

    Attributes:
        largest: largest difference of two logits.
        kl_mean, kl_p99, kl_max: of KL(first || this), in nats.
        same_top: share of tokens after which both would greedily say the same.
        perplexity: of this model; `num_scored` tokens had one before them.
    """

    num_tokens: int
    num_scored: int
    largest: float
    kl_mean: float
    kl_p99: float
    kl_max: float
    same_top: float
    perplexity: float


class _Rows:
    """What one model says after some tokens, [num_tokens, num_vocab]."""

    def __init__(self, logits: Array) -> None:
        self.logits = logits
        shifted = logits - logits.max(-1, keepdims=True)
        self.log_probs: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@dataclass(slots=True)
class _Tally:
    largest: float = 0.0
    kl: list[Array] = field(default_factory=list)
    same: int = 0
    surprise: float = 0.0  # sum of -log p of the tokens that came

    def add(self, one: _Rows, two: _Rows, following: Sequence[int]) -> None:
        """`following`: the token after each row, if any."""
        self.largest = max(self.largest, float(np.abs(one.logits - two.logits).max()))
        first, this = one.log_probs, two.log_probs
        self.kl.append(np.maximum((np.exp(first) * (first - this)).sum(-1), 0))
        self.same += int((first.argmax(-1) == this.argmax(-1)).sum())
        self.surprise -= float(this[np.arange(len(following)), following].sum(dtype=np.float64))

    def result(self, num_scored: int) -> Difference:
        kl = np.concatenate(self.kl)
        return Difference(
            num_tokens=len(kl),
            num_scored=num_scored,
            largest=self.largest,
            kl_mean=float(kl.mean(dtype=np.float64)),
            kl_p99=float(np.quantile(kl, 0.99)),
            kl_max=float(kl.max()),
            same_top=self.same / len(kl),
            perplexity=float(np.exp(self.surprise / max(num_scored, 1))),
        )


def open_engines(bundles: Sequence[Bundle], window: int = WINDOW) -> list[Engine]:
    """Engines that can read one window and give logits of `STEP` rows a step.

    Raises `UnsupportedError` where their vocabularies differ.
    """
    opened = [_open(bundle, window) for bundle in bundles]
    for bundle, engine in zip(bundles[1:], opened[1:], strict=True):
        _same_vocabulary(bundles[0], opened[0], bundle, engine)
    return opened


def compare(
    opened: Sequence[Engine], windows: Sequence[Sequence[int]], progress: Progress
) -> list[Difference]:
    """Each engine against the first, itself included (whose perplexity is of interest)."""
    readers = [WindowReader(engine) for engine in opened]
    tallies = [_Tally() for _ in opened]
    num_done = 0
    total = sum(map(len, windows))
    for window in windows:
        for begin, part in steps_of(window):
            following = window[begin + 1 : begin + 1 + len(part)]
            first: _Rows | None = None
            for reader, tally in zip(readers, tallies, strict=True):
                reader.read(part, begin)
                these = _Rows(reader.logits(len(part)))
                first = first or these
                tally.add(first, these, following)
            num_done += len(part)
            progress("comparing", num_done, total)
    return [tally.result(total - len(windows)) for tally in tallies]


def _open(bundle: Bundle, window: int) -> Engine:
    module: Any = load(engines, bundle.engine)
    wanted = {"context": window, "sequences": STEP, "batch": STEP}
    known = module.Config.__slots__
    config = module.Config(**{name: value for name, value in wanted.items() if name in known})
    engine: Engine = module.open(bundle, config)
    return engine


def _same_vocabulary(one: Bundle, first: Engine, two: Bundle, second: Engine) -> None:
    for token in range(max(first.info["num_vocab"], second.info["num_vocab"])):
        mine, theirs = _piece(first, token), _piece(second, token)
        if mine != theirs:
            raise UnsupportedError(
                f"{one.name} and {two.name} have different vocabularies: token {token} is {mine} "
                f"in the first, {theirs} in the second",
                "only models with the same tokens can be compared",
            )


def _piece(engine: Engine, token: int) -> str:
    if token >= engine.info["num_vocab"]:
        return "none"
    return repr(engine.piece(token).decode("utf-8", "backslashreplace"))
