"""What import-linter cannot see: folders that are mapped into the package when it is installed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgereason

PACKAGE = Path(edgereason.__file__).parent
OFFLINE = ("edgereason.export", "edgereason.bench")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_the_runtime_never_imports_what_is_offline(path: Path) -> None:
    assert not [name for name in imported(path) if name.startswith(OFFLINE)]
