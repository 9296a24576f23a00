"""The child of the checker `code`: all of Python's builtins, some modules, no file, no socket.

Wider than the child of the strategy `program`: published tests use much of the language. Standard
library only; it runs isolated, in an empty folder, with an empty environment.
"""

from __future__ import annotations

import bisect
import builtins
import collections
import copy
import datetime
import fractions
import functools
import hashlib
import heapq
import itertools
import json
import math
import operator
import random
import re
import resource
import statistics
import string
import sys
import typing
from typing import Any

# Loaded already: once the limits hold nothing can be read from the disk.
MODULES: tuple[Any, ...] = (
    bisect, collections, copy, datetime, fractions, functools, hashlib, heapq, itertools, json,
    math, operator, random, re, statistics, string, typing,
)  # fmt: skip
ALLOWED = {module.__name__ for module in MODULES} | {"collections.abc"}
MOST_TEXT = 1000


def limit(kind: int, amount: int) -> None:
    _, hard = resource.getrlimit(kind)
    amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(kind, (amount, amount))


def imported(name: str, *rest: Any, **more: Any) -> Any:
    if name not in ALLOWED:
        raise PermissionError(f"import of {name} is not allowed")
    return __import__(name, *rest, **more)


def main() -> None:
    asked = json.load(sys.stdin)
    limit(resource.RLIMIT_CPU, max(1, int(asked["cpu_seconds"])))
    limit(resource.RLIMIT_AS, asked["memory_mib"] << 20)
    limit(resource.RLIMIT_FSIZE, asked["most_output"])
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NPROC, 0)
    limit(resource.RLIMIT_NOFILE, 3)
    allowed = dict(vars(builtins))
    allowed |= {"__import__": imported, "print": lambda *values, **options: None}
    for name in ("open", "input", "breakpoint", "exit", "quit", "help"):
        allowed.pop(name, None)
    try:
        names: dict[str, Any] = {"__builtins__": allowed, "__name__": "answer"}
        exec(compile(asked["source"], "answer", "exec"), names)
        told = {"value": str(names[asked["function"]]())[:MOST_TEXT]}
    except BaseException as error:
        told = {"error": f"{type(error).__name__}: {error}"[:MOST_TEXT]}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
