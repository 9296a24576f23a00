"""Ctrl-C that ends an answer instead of the program.

    with Interrupt() as interrupt:
        handle = reasoner.submit(...)
        interrupt.cancels(handle)  # from here on Ctrl-C cancels it; what there is still comes
        ...
    if interrupt.happened: ...

A second Ctrl-C is a KeyboardInterrupt, should the first have no effect.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Final, Protocol

EXIT_INTERRUPTED: Final = 130


class _Cancellable(Protocol):
    def cancel(self) -> None: ...


class Interrupt:
    def __init__(self) -> None:
        self.happened = False
        self._handle: _Cancellable | None = None
        self._before: Any = None

    def cancels(self, handle: _Cancellable) -> None:
        self._handle = handle
        if self.happened:
            handle.cancel()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.happened:
            raise KeyboardInterrupt
        self.happened = True
        if self._handle is not None:
            self._handle.cancel()

    def __enter__(self) -> Interrupt:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is not signal.SIG_IGN:  # started in the background, or under nohup
            signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
