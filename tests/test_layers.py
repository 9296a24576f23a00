"""What import-linter cannot see: folders that are mapped into the package when it is installed, and
that the tests are its mirror."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import edgereason
from support.places import ROOT

PACKAGE = Path(edgereason.__file__).parent
EXPORT = ROOT / "export"
MAPPED = ("bench", "export", "training")
# Suites that all pass, the native core, tools.
TESTS_ONLY = {"contract", "core", "fuzz", "reference", "support"}
OFFLINE = ("edgereason.export", "edgereason.training", "edgereason.bench")


# Commands that work offline import what they need when they run.
COMMANDS = (
    *("cli/_exporting.py", "cli/_planning.py", "cli/distill_prefix.py", "cli/tune.py"),
    *("cli/bench/", "cli/export/"),
)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def when_loaded(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs when the module is imported: no functions, nothing that is for type checkers."""
    for node in tree.body:
        typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not typing and not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node


# The floors of `export/`, the lowest first: a file imports from its own folder and from below.
FLOORS = (
    ("offline", "windows"),
    ("sources", "weights"),
    ("metadata",),
    ("graph", "trt", "libllama", "target"),
    ("compare", "prefixes", "inspection"),
    ("targets", "workshop"),
    ("job", "optimum"),
    ("tuning",),
)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_the_runtime_never_imports_what_is_offline(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    offline = path.relative_to(PACKAGE).as_posix().startswith(COMMANDS)
    nodes = list(when_loaded(tree)) if offline else [tree]
    assert not [name for node in nodes for name in imported(node) if name.startswith(OFFLINE)]


def parts_imported(path: Path) -> Iterator[str]:
    """The other parts of `export/` that a file of it imports: `..weights.blocks` is `weights`."""
    up = 1 if path.parent == EXPORT else 2
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == up:
            named = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (name.partition(".")[0] for name in named)


@pytest.mark.parametrize("path", sorted(EXPORT.rglob("*.py")), ids=str)
def test_imports_of_the_export_go_down_its_floors(path: Path) -> None:
    part = path.relative_to(EXPORT).parts[0].removesuffix(".py")
    if part != "__init__":
        (floor,) = (i for i, parts in enumerate(FLOORS) if part in parts)
        below = {part, *(each for parts in FLOORS[:floor] for each in parts)}
        assert not set(parts_imported(path)) - below


def test_the_picture_of_the_floors_is_the_rule() -> None:
    """docs/design.md draws the floors, the highest first; pyproject.toml holds them."""
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    picture = page.partition("## The floors")[2].split("```")[1]
    drawn = [set(line[:36].split()) for line in picture.strip().splitlines()]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rules = settings["tool"]["importlinter"]["contracts"]
    layers = next(rule["layers"] for rule in rules if rule["type"] == "layers")
    held = [
        {name.removeprefix("edgereason.") for name in layer.split(" : ") if "(" not in name}
        for layer in layers
    ]
    assert drawn == held
    # And what is there is on a floor, but for the native module and what is written offline.
    there = {path.name.removesuffix(".py") for path in (ROOT / "edgereason").iterdir()}
    assert set().union(*held) == {
        name
        for name in there
        if name.isidentifier() and not name.startswith("_") and name not in ("py",)
    }


def test_the_tests_are_a_mirror_of_the_package() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/*.py")}
    package = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders - TESTS_ONLY <= package.union(MAPPED)
