"""Plug-ins are files: the name of the file is the name of the plug-in.

`names` lists what a package holds, `load` imports one of them. The name is checked before anything
is imported, so that a broken plug-in shows its own error and not "no such plug-in". `-` and `_` are
the same.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import Final

from edgereason.config import unknown

_KINDS: Final = {
    "strategies": "strategy",
    "engines": "engine",
    "targets": "export target",
    "suites": "bench",
    "stores": "store",
}


def names(package: str | ModuleType) -> list[str]:
    """Sorted names of the plug-ins of a package, as users write them: its files, but for `base` and
    private ones."""
    return [name for name in _listed(package, folders=False) if name != "base"]


def groups(package: str | ModuleType) -> list[str]:
    """Sorted names of the folders of plug-ins in a package, as users write them."""
    return _listed(package, folders=True)


def load(package: str | ModuleType, name: str) -> ModuleType:
    """The module of a plug-in. Raises `UsageError` on an unknown name, and whatever the module
    itself raises."""
    return _load(_module(package).__name__, name)


@cache
def _load(parent: str, name: str) -> ModuleType:
    known = names(parent)
    if name.replace("_", "-") not in known:
        kind = parent.rpartition(".")[2]
        raise unknown(f"no {_KINDS.get(kind, kind)} called", name, known)
    return importlib.import_module(f"{parent}.{name.replace('-', '_')}")


def _listed(package: str | ModuleType, *, folders: bool) -> list[str]:
    found = pkgutil.iter_modules(_module(package).__path__)
    names = (item.name for item in found if item.ispkg is folders)
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))


def _module(package: str | ModuleType) -> ModuleType:
    return importlib.import_module(package) if isinstance(package, str) else package
