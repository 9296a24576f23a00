"""`edgereason strategies`: what there is to choose from, read from the strategies' own files."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any, Final

import typer

from edgereason import strategies
from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._screen import console, json_object, say
from edgereason.config import REQUIRED, Option, fields_of
from edgereason.registry import names

# What a docstring tells under a head of its own.
_HEADS: Final = ("Cost", "Measured")
_COLUMNS: Final = ("way", "what it does", "cost", "needs", "measured")


def command(
    name: Annotated[str | None, typer.Argument(help="One way: all of it, and its options.")] = None,
    markdown: Annotated[
        bool, flag("--markdown", "Print the table as it stands in docs/ways.md.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the ways of thinking: what each costs, needs, and how it did where it was measured."""
    found = [described(each) for each in ([name] if name else names(strategies.__name__))]
    if as_json:
        json_object.say({"strategies": found})
    elif markdown:
        for line in as_markdown(found):
            say(line)
    elif name:
        _show(found[0])
    else:
        _table(found)


def _show(strategy: dict[str, Any]) -> None:
    for line in strategy["doc"].splitlines():
        say(line)
    say(f"\nneeds: {', '.join(strategy['needs'])}")
    for option in strategy["options"]:
        assignment = f"{option['name']}={option['default']}"
        say(f"    --set {assignment}  {option['help']} ({option['type']})")


def _table(found: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for row in map(_row, found):
        table.add_row(*row)
    console(sys.stdout).print(table)


def as_markdown(found: list[dict[str, Any]]) -> list[str]:
    """The table as lines of a page."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_row, found)]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]


def _row(strategy: dict[str, Any]) -> tuple[str, ...]:
    needs = [name for name in strategy["needs"] if name != "logits"]
    about = strategy["about"]
    return (strategy["name"], about, strategy["cost"], ", ".join(needs), strategy["measured"])


def described(name: str) -> dict[str, Any]:
    """All that a strategy's own file says of it."""
    from edgereason.strategies.base import choose

    strategy = choose(name)
    doc = (strategy.module.__doc__ or "").strip()
    told = {head: _told(doc, head) for head in _HEADS}
    return {
        "name": name.replace("_", "-"),
        "about": " ".join(doc.partition("\n\n")[0].split()),
        "cost": told["Cost"],
        "measured": told["Measured"],
        "needs": list(strategy.needs.words),
        "options": [_option(option) for option in fields_of(strategy.module.Config)],
        "doc": doc,
    }


def _told(doc: str, head: str) -> str:
    """What follows `Head:` in a docstring, on one line; "" where it has none."""
    _, found, rest = f"\n{doc}".partition(f"\n{head}: ")
    if not found:
        return ""
    end = re.search(r"\n\n|\n[A-Z][a-z]+( for)?: |\nNot for", rest)
    return " ".join(rest[: end.start() if end else len(rest)].split())


def _option(option: Option) -> dict[str, Any]:
    default = None if option.default is REQUIRED else option.default
    shown = (
        default if default is None or isinstance(default, (int, float, str, bool)) else str(default)
    )
    return {"name": option.name, "type": option.type_name, "default": shown, "help": option.help}
