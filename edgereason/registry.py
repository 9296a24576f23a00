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

_OTHERS: Final = ("base", "recipes", "variants")  # what stands beside plug-ins and is none
_KINDS: Final = {"strategies": "strategy", "engines": "engine", "export": "export target"}


def names(package: str | ModuleType) -> list[str]:
    """Sorted names of the plug-ins of a package, as users write them; private files and
    `_OTHERS` are none."""
    found = (item.name for item in pkgutil.iter_modules(_module(package).__path__))
    plugins = (name for name in found if not name.startswith("_") and name not in _OTHERS)
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
