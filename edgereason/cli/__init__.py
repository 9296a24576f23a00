"""The command line: one module a command, whose file name is its name.

A command module has a function `command`; its docstring is the help, its parameters are the
options. Modules whose name starts with `_` are shared parts. No engine is loaded until a command
needs one.
"""

from __future__ import annotations

from edgereason.cli._main import main

__all__ = ["main"]
