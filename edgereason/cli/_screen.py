"""What a person sees: reasoning dim on stderr, the answer on stdout, one line of what happened.

Text only, written as it comes and never redrawn: whatever interrupts us leaves the terminal clean.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TextIO

from edgereason.records import Answer, Channel, Chunk, Role, StopReason

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# What a model writes must not drive the terminal: no control characters but line breaks and tabs.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Nor what is said about it on one line, which must not turn around what follows, either.
_NOT_OF_A_LINE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_DIM: Final = ("\x1b[2m", "\x1b[0m")
_PIPE_WIDTH: Final = 160


def printable(text: str) -> str:
    """A name, a licence, an error, ... as part of one line, whatever somebody wrote into it."""
    return _NOT_OF_A_LINE.sub("\ufffd", text)


def say(line: str, *, error: bool = False) -> None:
    """Prints a line on stdout, or on stderr, where that is open."""
    stream = sys.stderr if error else sys.stdout
    if stream is not None:  # print would take stdout instead
        print(printable(line), file=stream, flush=True)


class OneObject:
    """The object of `--json`: one at most, whatever happens after it was printed."""

    said = False

    def say(self, data: Mapping[str, Any]) -> None:
        self.said = True  # first: Ctrl-C may come while it is written
        text = json.dumps(data, ensure_ascii=False)
        print(_NOT_OF_A_LINE.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=True)


json_object: Final = OneObject()


def console(stream: TextIO | None) -> Console:
    """A console that is plain where the stream is no terminal, or NO_COLOR is set. Texts are shown
    as they are: square brackets are no markup."""
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text), **options)

    stream = stream or _closed()
    width = None if stream.isatty() else _PIPE_WIDTH
    texts: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    plain = Plain(file=stream, color_system=None, width=width, **texts)
    return plain if plain.no_color or not stream.isatty() else Plain(file=stream, **texts)


def mib(num_bytes: float) -> str:
    return f"{num_bytes / 2**20:,.1f} MiB"


def _closed() -> TextIO:
    """In place of a stream that the caller has closed."""
    return open(os.devnull, "w", encoding="utf-8")


class Screen:
    """Shows one answer as it comes.

    What stands on stdout in the end is `Answer.answer` and a line break.
    """

    def __init__(self, *, reasoning: bool) -> None:
        self._reasoning = reasoning
        self._streams = {
            Channel.ANSWER: sys.stdout or _closed(),
            Channel.REASONING: sys.stderr or _closed(),
        }
        self._dim = _DIM if console(sys.stderr).color_system else ("", "")
        self._held = {channel: "" for channel in Channel}  # blanks, shown only if something follows
        self._begun: set[Channel] = set()
        self._last: Channel | None = None

    def show(self, chunk: Chunk) -> None:
        channel = chunk.channel
        if channel is Channel.REASONING and not self._reasoning:
            return
        text = self._held[channel] + chunk.text
        text = text if channel in self._begun else text.lstrip()
        shown = text.rstrip()
        self._held[channel] = text[len(shown) :]
        if not shown:
            return
        if self._last not in (None, channel):
            self._break_line()
        self._last = channel
        self._begun.add(channel)
        before, after = self._dim if channel is Channel.REASONING else ("", "")
        self._write(channel, before + self._printable(channel, shown) + after)

    def end(self, answer: Answer) -> None:
        """Shows what was not streamed (a winner of many), and ends the line."""
        if Channel.ANSWER not in self._begun:
            self.show(Chunk(Channel.ANSWER, answer.answer))
        if self._last is Channel.ANSWER:
            self._write(Channel.ANSWER, "\n")
        else:
            self._break_line()
        self._last = None

    def note(self, text: str) -> None:
        """One line on stderr."""
        self._write(Channel.REASONING, printable(text) + "\n")

    def _break_line(self) -> None:
        """Between the two kinds of text; an answer that goes into a pipe is not broken."""
        if self._last is Channel.REASONING or (self._last and self._streams[self._last].isatty()):
            self._write(self._last, "\n")

    def _printable(self, channel: Channel, text: str) -> str:
        return _CONTROL.sub("\ufffd", text) if self._streams[channel].isatty() else text

    def _write(self, channel: Channel, text: str) -> None:
        stream = self._streams[channel]
        stream.write(text)
        stream.flush()


def summary(answer: Answer) -> str:
    """What happened, in one line: why thinking ended, tokens, milliseconds, speed, late or not."""
    return f"{answer.strategy}: " + ", ".join(_parts(answer))


def _parts(answer: Answer) -> Iterator[str]:
    usage, thinking, deadline = answer.usage, answer.budget.think_tokens, answer.budget.deadline_ms
    if answer.finish is StopReason.CANCELLED:
        yield "cancelled"
    if usage.reasoning_tokens:
        latent = f"{usage.latent_tokens} latent, " if usage.latent_tokens else ""
        yield f"thought {usage.reasoning_tokens} tokens ({latent}ended by {thinking.ended_by})"
    else:
        yield "no thinking"
    yield f"answered {usage.answer_tokens} tokens{_cut(answer)}"
    if usage.cached_tokens:
        yield f"{usage.cached_tokens} of {usage.prompt_tokens} prompt tokens cached"
    yield f"{answer.timings.total_ms:.0f} ms"
    yield f"{answer.timings.tokens_per_s:.1f} tok/s"
    if deadline.asked is not None:
        yield (
            f"late by {deadline.late_ms:.1f} ms"
            if deadline.late_ms
            else f"in time for {deadline.asked:g} ms"
        )
    if answer.note:
        yield answer.note


def _cut(answer: Answer) -> str:
    """Says so when the only answer did not end by itself, nor by being cancelled as a whole."""
    reasons = [phase.reason for phase in answer.phases if phase.role == Role.ANSWER.value]
    return (
        f" (cut by {reasons[0]})"
        if len(reasons) == 1 and reasons[0] not in ("stop", "cancelled")
        else ""
    )
