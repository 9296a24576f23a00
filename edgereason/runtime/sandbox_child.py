"""The child of `sandbox.py`, run as a script: reads a program from stdin, prints what it returns.

Standard library only, and nothing of this package: it runs isolated. The program is checked before
it runs, and runs with few builtins; the kernel holds the limits whatever it does.
"""

from __future__ import annotations

import ast
import builtins
import collections
import fractions
import functools
import itertools
import json
import math
import resource
import sys
import types
import unicodedata  # noqa: F401  # names beyond ASCII need it, and later no file can be opened
from typing import Any


def part_of(module: Any, names: str = "") -> types.SimpleNamespace:
    """Some names of a module, or all public ones: a module itself leads to others, such as sys."""
    chosen = names.split() or [name for name in dir(module) if not name.startswith("_")]
    return types.SimpleNamespace(**{name: getattr(module, name) for name in chosen})


MODULES = {
    "collections": part_of(collections, "Counter defaultdict deque"),
    "fractions": part_of(fractions, "Fraction"),
    "functools": part_of(functools, "cache lru_cache partial reduce"),
    "itertools": part_of(itertools),
    "math": part_of(math),
}
BUILTINS = """
    abs all any bool dict divmod enumerate filter float frozenset int isinstance len list map max
    min pow range reversed round set slice sorted str sum tuple zip
    ArithmeticError Exception IndexError KeyError TypeError ValueError ZeroDivisionError
"""
INTERNALS = ("_", "ag_", "co_", "cr_", "f_", "gi_", "tb_")  # frames lead out of any cage
MOST_TEXT = 1000  # characters of a value
LAST = "_"  # the name of the value of the last line


def limit(kind: int, amount: int) -> None:
    """Lowers a limit for good; one that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(kind, (amount, amount))


def check(tree: ast.AST) -> None:
    """Raises what the program may not say. `_` alone is a name like any other."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        else:
            names = []
        for name in names:
            if name not in MODULES:
                raise PermissionError(f"import of {name} is not allowed")
        read = [node.attr] if isinstance(node, ast.Attribute) else []
        if isinstance(node, ast.MatchClass):  # `case int(__class__=c)` reads an attribute, too
            read = node.kwd_attrs
        for name in read:
            if name.startswith(INTERNALS):
                raise PermissionError(f"{name} is not allowed")
        if isinstance(node, ast.Name) and node.id.startswith("__"):
            raise PermissionError(f"{node.id} is not allowed")


def imported(name: str, *rest: Any) -> Any:
    return MODULES[name]


class Printed:
    """What a program prints, up to `MOST_TEXT`; all beyond is dropped."""

    def __init__(self) -> None:
        self.text = ""

    def __call__(self, *values: Any, sep: str = " ", end: str = "\n", **options: Any) -> None:
        for i, value in enumerate(values):
            self.text += (sep if i else "") + str(value)[:MOST_TEXT]
            self.text = self.text[:MOST_TEXT]
        self.text = (self.text + end)[:MOST_TEXT]


def keep_last(tree: ast.Module) -> None:
    """The value of the last line is kept, as an interactive Python would show it."""
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = tree.body[-1]
        target = ast.Name(LAST, ast.Store())
        tree.body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
        ast.fix_missing_locations(tree)


def text_of(value: Any) -> str:
    """A number as people write it."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"it returned {value}")
        value = int(value) if value.is_integer() else f"{value:.10g}"
    text = str(value)
    if value is None or len(text) > MOST_TEXT:
        raise ValueError("it returned nothing" if value is None else "it returned too much")
    return text


def result_of(function: str, names: dict[str, Any], printed: Printed) -> str:
    if function:
        if function not in names:
            raise NameError(f"there is no function {function}")
        return text_of(names[function]())
    if printed.text.strip():
        return printed.text.strip()
    if names.get(LAST) is None:
        raise ValueError("it printed nothing")
    return text_of(names[LAST])


def main() -> None:
    asked = json.load(sys.stdin)
    limit(resource.RLIMIT_CPU, max(1, math.ceil(asked["cpu_seconds"])))
    limit(resource.RLIMIT_AS, asked["memory_mib"] << 20)
    limit(resource.RLIMIT_FSIZE, asked["most_output"])
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NOFILE, 3)  # those that are open, and no other
    try:
        tree = ast.parse(asked["source"])
        check(tree)
        allowed = {name: getattr(builtins, name) for name in BUILTINS.split()}
        printed = Printed()
        allowed |= {"__import__": imported, "print": printed}
        names: dict[str, Any] = {"__builtins__": allowed, **MODULES}
        if not asked["function"]:
            keep_last(tree)
        exec(compile(tree, "program", "exec"), names)
        told = {"value": result_of(asked["function"], names, printed)}
    except BaseException as error:
        told = {"error": f"{type(error).__name__}: {error}"[:MOST_TEXT]}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
