"""`edgereason strategies`: what there is to choose from, read from the strategies' own files."""

from __future__ import annotations

from typing import Any

from edgereason import strategies
from edgereason.cli._options import Debug, Json
from edgereason.cli._screen import json_object, say
from edgereason.config import REQUIRED, Option, fields_of
from edgereason.registry import names


def command(as_json: Json = False, debug: Debug = False) -> None:
    """List the ways of thinking, and their options for --set."""
    found = [_described(name) for name in names(strategies.__name__)]
    if as_json:
        json_object.say({"strategies": found})
        return
    for strategy in found:
        say(f"{strategy['name']}: {strategy['about']}")
        for option in strategy["options"]:
            assignment = f"{option['name']}={option['default']}"
            say(f"    --set {assignment}  {option['help']} ({option['type']})")


def _described(name: str) -> dict[str, Any]:
    from edgereason.strategies.base import choose

    strategy = choose(name)
    return {
        "name": name,
        "about": (strategy.module.__doc__ or "").strip().partition("\n")[0],
        "needs": list(strategy.needs.words),
        "options": [_option(option) for option in fields_of(strategy.module.Config)],
    }


def _option(option: Option) -> dict[str, Any]:
    default = None if option.default is REQUIRED else option.default
    return {"name": option.name, "type": option.type_name, "default": default, "help": option.help}
