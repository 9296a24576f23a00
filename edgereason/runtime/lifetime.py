"""What becomes of open models when their program ends or forks, whoever forgot to close them.

At the end of the program they are closed while the interpreter is still whole: native code that
ran on would use what is being torn down. In the child of a fork only the thread that forked goes
on, so a model that was open before can neither be used nor freed there. Knows drivers only.
"""

from __future__ import annotations

import atexit
import ctypes
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edgereason.runtime.driver import Driver

# No lock, which a fork might find held: each use is one operation, and Python keeps sets whole.
_open: Final[set[Driver]] = set()


def opened(driver: Driver) -> None:
    _open.add(driver)


def ended(driver: Driver) -> None:
    _open.discard(driver)


def _close_all() -> None:
    for driver in tuple(_open):
        driver.close()


def _in_child() -> None:
    for driver in _open:
        driver.left_behind = True
        # To free it would wait for its threads, also at the end of the child.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(driver))
    _open.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
