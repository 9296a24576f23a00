"""`edgereason run`: one question, one answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgereason.cli import _asking
from edgereason.cli._interrupt import EXIT_INTERRUPTED, Interrupt
from edgereason.cli._opening import open_reasoner
from edgereason.cli._options import Asking, Debug, Json, Opening, flag, with_options
from edgereason.cli._screen import Screen, json_object, say, summary
from edgereason.errors import UsageError

if TYPE_CHECKING:
    from edgereason.records import Answer, Request
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
    explain: Annotated[
        bool, flag("--explain", "Show every line of thought: tokens, times, why it ended.")
    ] = False,
    explain_page: Annotated[
        Path | None, flag("--explain-page", "Write the same to this HTML file.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Answer one question.

    Reasoning goes to stderr, the answer to stdout, then one line of what happened to stderr.
    """
    turns = _asking.read_question(prompt, messages, asking.system)
    _asking.check(asking, ctx)
    with open_reasoner(opening, quiet=quiet or as_json) as reasoner:
        request = _asking.build_request(asking, turns, ctx, reasoner.bundle)
        request = replace(request, explain=explain or explain_page is not None)
        with Interrupt() as interrupt:
            if as_json:
                answer = _print_json(reasoner, request, interrupt)
            else:
                answer = _show(reasoner, request, interrupt, quiet=quiet)
    _explain(answer, explain and not as_json, explain_page)
    if interrupt.happened:
        raise typer.Exit(EXIT_INTERRUPTED)


def _explain(answer: Answer, as_text: bool, page: Path | None) -> None:
    from edgereason.runtime import explain

    if as_text:
        for line in explain.as_text(answer).splitlines():
            say(line, error=True)
    if page is not None:
        try:
            page.write_text(explain.as_page(answer), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {page}: {error.strerror}") from None


def _print_json(reasoner: Reasoner, request: Request, interrupt: Interrupt) -> Answer:
    handle = reasoner.submit(request)
    interrupt.cancels(handle)
    answer = handle.result()
    json_object.say(answer.to_dict())
    return answer


def _show(reasoner: Reasoner, request: Request, interrupt: Interrupt, *, quiet: bool) -> Answer:
    screen = Screen(reasoning=not quiet)
    handle = reasoner.stream(request)
    interrupt.cancels(handle)
    for chunk in handle:
        screen.show(chunk)
    answer = handle.result()
    screen.end(answer)
    if not quiet:
        screen.note(summary(answer))
    return answer
