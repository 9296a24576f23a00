"""`edgereason run`: one question, one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgereason.cli import _asking
from edgereason.cli._interrupt import EXIT_INTERRUPTED, Interrupt
from edgereason.cli._opening import open_reasoner
from edgereason.cli._options import Asking, Debug, Json, Opening, flag, with_options
from edgereason.cli._screen import Screen, json_object, summary

if TYPE_CHECKING:
    from edgereason.records import Request
    from edgereason.runtime.reasoner import Reasoner


@with_options
def command(
    ctx: typer.Context,
    prompt: Annotated[
        str | None, typer.Argument(help="The question; - or nothing reads it from stdin.")
    ] = None,
    messages: Annotated[
        str | None, flag("--messages", 'JSON file with [{"role", "content"}, ...]; - is stdin.')
    ] = None,
    *,
    opening: Opening,
    asking: Asking,
    as_json: Json = False,
    quiet: Annotated[bool, flag("--quiet", "Print the answer and nothing else.")] = False,
    debug: Debug = False,
) -> None:
    """Answer one question.

    Reasoning goes to stderr, the answer to stdout, then one line of what happened to stderr.
    """
    turns = _asking.read_question(prompt, messages, asking.system)
    _asking.check(asking, ctx)
    with open_reasoner(opening, quiet=quiet or as_json) as reasoner:
        request = _asking.build_request(asking, turns, ctx, reasoner.bundle)
        with Interrupt() as interrupt:
            if as_json:
                _print_json(reasoner, request, interrupt)
            else:
                _show(reasoner, request, interrupt, quiet=quiet)
    if interrupt.happened:
        raise typer.Exit(EXIT_INTERRUPTED)


def _print_json(reasoner: Reasoner, request: Request, interrupt: Interrupt) -> None:
    handle = reasoner.submit(request)
    interrupt.cancels(handle)
    json_object.say(handle.result().to_dict())


def _show(reasoner: Reasoner, request: Request, interrupt: Interrupt, *, quiet: bool) -> None:
    screen = Screen(reasoning=not quiet)
    handle = reasoner.stream(request)
    interrupt.cancels(handle)
    for chunk in handle:
        screen.show(chunk)
    answer = handle.result()
    screen.end(answer)
    if not quiet:
        screen.note(summary(answer))
