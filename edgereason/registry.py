"""Plug-ins are files: the name of the file is the name of the plug-in.

`names` lists what a package holds, `load` imports one of them. The name is checked before anything
is imported, so that a broken plug-in shows its own error and not "no such plug-in". `-` and `_` are
the same.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Final

from edgereason.config import unknown

_BASE: Final = "base"  # what plug-ins build on
_KINDS: Final = {"strategies": "strategy", "engines": "engine", "export": "export target"}


def names(package: str | ModuleType) -> list[str]:
    """Sorted names of the plug-ins of a package, as users write them: a file each. Folders, private
    files and `base` are none."""
    items = pkgutil.iter_modules(_module(package).__path__)
    files = (item.name for item in items if not item.ispkg)
    plugins = (name for name in files if not name.startswith("_") and name != _BASE)
    return sorted(name.replace("_", "-") for name in plugins)


def load(package: str | ModuleType, name: str) -> ModuleType:
    """The module of a plug-in. Raises `UsageError` on an unknown name, and whatever the module
    itself raises."""
    parent = _module(package).__name__
    known = names(package)
    if name.replace("_", "-") not in known:
        kind = parent.rpartition(".")[2]
        raise unknown(f"no {_KINDS.get(kind, kind)} called", name, known)
    return importlib.import_module(f"{parent}.{name.replace('-', '_')}")


def _module(package: str | ModuleType) -> ModuleType:
    return importlib.import_module(package) if isinstance(package, str) else package
