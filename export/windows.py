"""A text as windows of tokens, and an engine that reads them outside of the scheduler: as many
threads as the load of the machine allows, each row with output. Knows neither what is measured nor
where models lie.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgereason import files
from edgereason.errors import UsageError

if TYPE_CHECKING:
    from edgereason._core import Engine

WINDOW: Final = 512  # tokens that are read together, each window from an empty context
STEP: Final = 64  # tokens of a step; each has output, so engines are opened for so many sequences


def read_text(path: Path) -> str:
    text = files.read_given(path)
    if not text.strip():
        raise UsageError(f"{path} is empty", "give a text of some thousand words")
    return text


def windows_of(engine: Engine, text: str, num_tokens: int, width: int = WINDOW) -> list[list[int]]:
    """The first tokens of a text as windows, each with the token that every prompt starts with."""
    start = [engine.bos] if engine.add_bos and engine.bos is not None else []
    tokens = engine.tokenize(text)[:num_tokens]
    step = width - len(start)
    return [start + tokens[begin : begin + step] for begin in range(0, len(tokens), step)]


def steps_of(window: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """What is read of a window in each step: where it begins, and the tokens."""
    for begin in range(0, len(window), STEP):
        yield begin, window[begin : begin + STEP]


class WindowReader:
    """One engine, its first sequence."""

    def __init__(self, engine: Engine) -> None:
        from edgereason._core import LoadMeter, ThreadGovernor

        self.engine = engine
        self._governor = ThreadGovernor(engine.info["max_threads"])
        self._meter = LoadMeter()

    def read(self, tokens: Sequence[int], begin: int) -> None:
        """The next tokens of a window, from position `begin` on, which is 0 for a new window."""
        if begin == 0:
            self.engine.drop(0)
        began = time.monotonic()
        self.engine.decode([(0, begin + i, token, True) for i, token in enumerate(tokens)])
        now = time.monotonic()
        self._governor.set_busy_cores(self._meter.busy_cores(), self._meter.num_cores)
        threads = self._governor.observe(now * 1e3, len(tokens), (now - began) * 1e3)
        self.engine.set_threads(threads)

    def logits(self, num_rows: int) -> NDArray[np.float32]:
        """Of the rows just read, [num_rows, num_vocab]."""
        rows = [self.engine.logits(i) for i in range(num_rows)]
        return np.stack([row for row in rows if row is not None])
