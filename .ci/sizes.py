"""Prints which files and functions are longer than the style allows: to look at, not a gate."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

LIMITS = {".py": 400, ".pyi": 400, ".cc": 500, ".h": 500, ".pyx": 500, ".pxi": 500, ".pxd": 500}
FUNCTION_LIMIT = 40


def tracked() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        path = Path(name)
        if path.suffix in LIMITS and path.is_file():
            yield path


def long_functions(path: Path, text: str) -> Iterator[tuple[int, int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LIMIT:
                yield length, FUNCTION_LIMIT, f"{path}:{node.lineno} {node.name}"


def over() -> Iterator[tuple[int, int, str]]:
    for path in tracked():
        text = path.read_text(encoding="utf-8")
        length = text.count("\n")
        if length > LIMITS[path.suffix]:
            yield length, LIMITS[path.suffix], str(path)
        if path.suffix == ".py":
            yield from long_functions(path, text)


def main() -> None:
    rows = sorted(over(), reverse=True)
    print(f"{'lines':>6} {'limit':>6}  over the limit")
    for length, limit, what in rows:
        print(f"{length:>6} {limit:>6}  {what}")
    print(f"{len(rows)} over the limit" if rows else "none")


if __name__ == "__main__":
    main()
