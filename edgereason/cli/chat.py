"""`edgereason chat`: a conversation.

Each turn reuses the KV of the one before, as far as the template repeats it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import typer

from edgereason.cli import _asking
from edgereason.cli._interrupt import Interrupt
from edgereason.cli._opening import open_reasoner
from edgereason.cli._options import Asking, Debug, Opening, with_options
from edgereason.cli._screen import Screen, summary
from edgereason.errors import UsageError
from edgereason.records import UNLIMITED, Message, Request

if TYPE_CHECKING:
    from edgereason.runtime.reasoner import Reasoner

_HELP = "/think on|off, /reset, /exit; Ctrl-C ends an answer, Ctrl-D the chat"


@with_options
def command(ctx: typer.Context, *, opening: Opening, asking: Asking, debug: Debug = False) -> None:
    """Talk to a model.

    Lines from stdin are questions; /think on|off, /reset and /exit are commands. Ctrl-C ends an
    answer and keeps what there is of it, Ctrl-D ends the chat.
    """
    if sys.stdin is None:
        raise UsageError("stdin is closed", "chat reads the questions from it")
    _asking.check(asking, ctx)
    first = () if asking.system is None else (Message("system", asking.system),)
    with open_reasoner(opening) as reasoner:
        question = (Message("user", "?"),)
        template = replace(_asking.build_request(asking, question, ctx, reasoner.bundle), keep=True)
        Chat(reasoner, template, first).run()


@dataclass(slots=True)
class Chat:
    """The conversation so far. `template` is the request that every turn is made from."""

    reasoner: Reasoner
    template: Request
    first: tuple[Message, ...]
    turns: tuple[Message, ...] = ()
    thinks: bool = field(init=False)

    def __post_init__(self) -> None:
        self.thinks = self.template.budget.think_tokens != 0

    def run(self) -> None:
        screen = Screen(reasoning=True)
        if sys.stdin.isatty():
            screen.note(f"{self.reasoner.bundle.name}: {_HELP}")
        for line in _lines():
            word, _, rest = line.partition(" ")
            if word == "/exit":
                return
            if word == "/reset":
                self.turns = ()
            elif word == "/think":
                screen.note(self._switch(rest.strip()))
            elif word.startswith("/") and not rest:
                screen.note(_HELP)
            else:
                self._answer(line)

    def _switch(self, wanted: str) -> str:
        if wanted not in ("on", "off"):
            return f"thinking is {'on' if self.thinks else 'off'}; /think on|off"
        self.thinks = wanted == "on"
        return f"thinking is {wanted}"

    def _answer(self, line: str) -> None:
        screen = Screen(reasoning=True)
        turns = (*self.turns, Message("user", line))
        with Interrupt() as interrupt:
            try:
                handle = self.reasoner.stream(self._request(turns))
                interrupt.cancels(handle)
                for chunk in handle:
                    screen.show(chunk)
                answer = handle.result()
            except (
                UsageError
            ) as error:  # such as a context that is full: the chat goes on without this turn
                screen.note(f"error: {error}")
                return
        screen.end(answer)
        screen.note(summary(answer))
        if answer.answer:
            # Thoughts that never were in one context, as those of rounds, do not fit into the next.
            fits = answer.budget.think_tokens.used < answer.usage.peak_cells
            thoughts = answer.reasoning if fits else ""
            self.turns = (*turns, Message("assistant", answer.answer, thoughts or None))

    def _request(self, turns: tuple[Message, ...]) -> Request:
        asked = self.template.budget.think_tokens
        tokens = 0 if not self.thinks else (asked or UNLIMITED)
        budget = replace(self.template.budget, think_tokens=tokens)
        return replace(self.template, messages=self.first + turns, budget=budget)


def _lines() -> Iterator[str]:
    """Lines that are not empty, until the end of stdin. Ctrl-C gives up the line being typed."""
    prompt = "> " if sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty() else ""
    if prompt:
        import readline  # noqa: F401 (line editing and history for input())
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            if prompt:
                print()
            return
        except KeyboardInterrupt:
            if not prompt:
                raise
            print()
            continue
        except UnicodeDecodeError:
            raise UsageError("stdin is not UTF-8") from None
        if line:
            yield line
