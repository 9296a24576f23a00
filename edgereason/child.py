"""Child processes that run a Python module, safe from the folder they are started in.

    subprocess.Popen(child.command("pip", "download", ...), cwd=folder)

`python -m` would import from the current directory first, which may be a model's that a stranger
packed. Such a child imports from what is installed only, on every version of Python, and ends when
its parent does, however that ends. Knows no module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

NOWHERE: Final = Path(os.sep)
"""A working directory in which nothing is looked for. Paths that a child gets are absolute."""

# Python's -P does the first part, from 3.11 on.
_BOOT: Final = """
import sys
sys.path[:] = [place for place in sys.path if place]
import os, runpy, threading, time
parent, module = int(sys.argv.pop(1)), sys.argv.pop(1)
def watch():
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
if parent:
    threading.Thread(target=watch, daemon=True).start()
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def command(module: str, *arguments: str | Path, outlives: bool = False) -> Sequence[str]:
    """The command line of `python -m module arguments`. `outlives`: it may go on without its
    parent, as one that is not started by this process itself must."""
    parent = 0 if outlives else os.getpid()
    return [sys.executable, "-c", _BOOT, str(parent), module, *map(str, arguments)]
