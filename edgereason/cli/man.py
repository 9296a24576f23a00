"""`edgereason man`: the manual page, made from the commands and options that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import typer

from edgereason import __version__
from edgereason.cli._options import Debug, Json
from edgereason.cli._screen import json_object

_FILES: Final = (
    ("~/.cache/edgereason", "Models and measurements, or the folder that EDGEREASON_CACHE names."),
)


def command(context: typer.Context, as_json: Json = False, debug: Debug = False) -> None:
    """Print the manual page: edgereason man | man -l -"""
    page = "\n".join(_page(context, context.parent.command if context.parent else None)) + "\n"
    if as_json:
        json_object.say({"page": page})
    else:
        print(page, end="")


def _page(context: typer.Context, group: Any) -> Iterator[str]:
    yield f'.TH EDGEREASON 1 "" "edgereason {__version__}" "User Commands"'
    yield ".SH NAME"
    yield f"edgereason {_text('-')} {_text(_first_line(group.help))}"
    yield ".SH SYNOPSIS"
    yield ".B edgereason"
    yield _text("[--options FILE] COMMAND [ARGUMENT]...")
    yield ".SH DESCRIPTION"
    yield _text(group.epilog or "")
    yield ".SH COMMANDS"
    for name, each in _commands(group):
        usage = [piece for each_one in each.params for piece in each_one.get_usage_pieces(context)]
        yield f".SS {_text(' '.join(['edgereason', name, *usage]))}"
        yield _text(" ".join((each.help or "").split()))
        for parameter in each.params:
            told = parameter.get_help_record(context)
            if told is not None and parameter.param_type_name == "option":
                yield from (".TP", f".B {_text(told[0])}", _text(" ".join(told[1].split())))
    yield ".SH FILES"
    for path, what in _FILES:
        yield from (".TP", f".I {_text(path)}", _text(what))


def _commands(group: Any) -> Iterator[tuple[str, Any]]:
    for name, each in sorted(group.commands.items()):
        if hasattr(each, "commands"):
            yield from ((f"{name} {inner}", found) for inner, found in _commands(each))
        elif not each.hidden:
            yield name, each


def _text(text: str) -> str:
    """So that roff takes nothing for its own: backslashes, hyphens, dots that begin a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", escaped)


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0].rstrip(".")
