"""Reads texts with an engine outside of the scheduler: as many threads as the load of the machine
allows, each row with output. Knows tokens only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgereason._core import Engine


class Reader:
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
