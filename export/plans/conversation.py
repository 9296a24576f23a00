"""A chat template as pieces: what it writes between the messages of a conversation.

Learned by rendering conversations whose messages are easily found again, and then proven: with
texts of many kinds, with every text that stands in the template, with its control tokens. A text
that the template does more to than to copy is named, so that the C library can refuse it; a
template that does so to ordinary texts is refused. Knows no strategy.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgereason.errors import UnsupportedError, UsageError
from edgereason.prompt.guards import Guards
from edgereason.records import Message, Segment

__all__ = ["Conversation", "Render", "learn"]

Render = Callable[[Sequence[Message]], tuple[Segment, ...]]
"""The prompt of a conversation, as the runtime would have it."""

BEGIN: Final = "begin"
END: Final = "end"
ROLES: Final = ("system", "user", "assistant")
_TURNS: Final = 3  # exchanges before the question, at most, that a template is tried with
_WORD: Final = "Qxz{}zxQ"  # a text that no template writes, and that none acts on
_SHORT: Final = 3  # characters: to refuse all texts that hold so little would refuse too much
_PLAIN: Final = (
    "What is 17 * 3?",
    " a blank before",
    "and behind ",
    "\n\nlines around\n\n",
    "two\n\nlines",
    "tab\there, \x0b and \u2028 and \u3000",
    "Grüße aus Köln, 日本語, \U0001f600",
    "<b>&amp; \"quoted\" 'twice'</b> {{ x }} {% y %}",
    '{"name": "f", "arguments": {"a": [1, null]}}',
    "a/b\\c | d ``` e # f",
    "1",
    "None",
    "word " * 200,
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a template writes around messages.

    Attributes:
        between: (speaker before, speaker after) -> text; "begin" and "end" stand at both ends.
        trims: role -> what its texts lose on the left and on the right: "", "newlines", "blanks".
        tail: further segments behind all.
        guarded, cut_after: see `Guards.texts` and `Guards.starts`.
        unsaid: texts that an earlier answer must not hold: marks of thoughts, which templates cut
            out of it.
        acted_on: texts that the template does more to than to copy.
    """

    between: Mapping[tuple[str, str], str]
    trims: Mapping[str, tuple[str, str]]
    tail: tuple[str, ...]
    guarded: tuple[str, ...]
    cut_after: tuple[str, ...]
    unsaid: tuple[str, ...]
    acted_on: tuple[str, ...] = ()

    def fill(self, messages: Sequence[Message], guards: Guards) -> tuple[Segment, ...]:
        """As the C library fills it; for proof. `guards` are those of the conversation."""
        text, before = "", BEGIN
        for message in messages:
            said = _trimmed(message.content, *self.trims.get(message.role, ("", "")))
            text += self.between[before, message.role] + guards.put(said)
            before = message.role
        text += self.between[before, END]
        pieces = [piece for piece in guards.cut(text) if piece.text]
        return (*pieces, *map(Segment, self.tail))


def learn(
    render: Render, template: str, control: Sequence[str], marks: Sequence[str], literals: str
) -> Conversation:
    """The pieces of a template. `control` and `marks` are what users' texts must not become;
    `literals` is all that the template itself may write, parted by NUL.

    Raises `UnsupportedError` where it is not made of pieces.
    """
    guards = Guards.chosen(template, control, marks, "".join(_PLAIN))
    made = Conversation({}, {}, (), guards.texts, guards.starts, tuple(marks))
    for messages in _shapes(render):
        made = _with_pieces(made, messages, render(messages))
    proof = _Proof(made, render, template, control, marks)
    for role in ROLES:
        proof = proof.with_trims(role)
    made = proof.made
    for text in _PLAIN:
        for messages in proof.conversations(text):
            if not proof.holds(messages):
                raise _not_pieces(f"it writes {text!r} of a {_speaker(messages, text)} otherwise")
    return replace(made, acted_on=tuple(_acted_on(proof, control, literals)))


def _not_pieces(why: str) -> UnsupportedError:
    return UnsupportedError(
        f"the chat template of this model is not made of pieces around the messages: {why}",
        "use the model through Python, which runs the template itself",
    )


def _words(roles: Sequence[str]) -> list[Message]:
    return [Message(role, _WORD.format(i)) for i, role in enumerate(roles)]


def _shapes(render: Render) -> Iterator[list[Message]]:
    """All orders of speakers that the template takes: with a system message and without, after some
    exchanges and none. At least a lone question."""
    for system in ((), ("system",)):
        for turns in range(_TURNS + 1):
            messages = _words([*system, *["user", "assistant"] * turns, "user"])
            try:
                render(messages)
            except UsageError:
                if not system and not turns:
                    raise
                break  # it has no system message, or no history
            yield messages


def _with_pieces(
    made: Conversation, messages: Sequence[Message], segments: tuple[Segment, ...]
) -> Conversation:
    """What stands around the messages of one rendering, if it fits what is known."""
    first, *rest = segments
    if any(not segment.control for segment in segments):
        raise _not_pieces("it writes control tokens as text")
    found = re.split("|".join(re.escape(each.content) for each in messages), first.text)
    order = re.findall(_WORD.format(r"\d+"), first.text)
    if order != [message.content for message in messages]:
        raise _not_pieces("a message is left out, written twice or moved")
    between, speakers = dict(made.between), [BEGIN, *(m.role for m in messages), END]
    for text, pair in zip(found, itertools.pairwise(speakers), strict=True):
        if between.setdefault(pair, text) != text:
            raise _not_pieces(f"what it writes between {pair[0]} and {pair[1]} depends on more")
    tail = tuple(segment.text for segment in rest)
    if made.between and tail != made.tail:
        raise _not_pieces("its end depends on more than its last message")
    return replace(made, between=between, tail=tail)


def _conversations(made: Conversation, role: str, text: str) -> Iterator[list[Message]]:
    """Short ones in which `role` says this."""
    if role == "user":
        yield [Message("user", text)]
    if role == "system" and (BEGIN, "system") in made.between:
        yield [Message("system", text), *_words(["user"])]
    if role != "system" and ("user", "assistant") in made.between:
        turns = _words(["user", "assistant", "user"])
        at = 1 if role == "assistant" else 0
        yield [*turns[:at], Message(role, text), *turns[at + 1 :]]


_CHARS: Final[Mapping[str, str | None]] = {"newlines": "\n", "blanks": None}
_LOSSES: Final = ("", *_CHARS)


def _trimmed(text: str, left: str, right: str) -> str:
    text = text.lstrip(_CHARS[left]) if left else text
    return text.rstrip(_CHARS[right]) if right else text


@dataclass(frozen=True, slots=True)
class _Proof:
    """Whether pieces give what the template gives."""

    made: Conversation
    render: Render
    template: str
    control: Sequence[str]
    marks: Sequence[str]

    def with_trims(self, role: str) -> _Proof:
        """With what the texts of a role lose at their ends; as it is where nothing fits."""
        talks = list(_conversations(self.made, role, f"\n \n{_WORD.format('t')}\n \n"))
        for losses in itertools.product(_LOSSES, _LOSSES):
            made = replace(self.made, trims={**self.made.trims, role: losses})
            proof = replace(self, made=made)
            if all(proof.holds(messages) for messages in talks):
                return proof
        return self

    def conversations(self, text: str) -> Iterator[list[Message]]:
        for role in ROLES:
            if role == "assistant" and any(mark in text for mark in self.marks):
                continue  # never asked for: `unsaid`
            yield from _conversations(self.made, role, text)

    def holds(self, messages: Sequence[Message]) -> bool:
        text = "".join(message.content for message in messages)
        guards = Guards.chosen(self.template, self.control, self.marks, text)
        try:
            return self.made.fill(messages, guards) == self.render(messages)
        except UsageError:  # refused: by the template, or since a control token would come of it
            return False


def _acted_on(proof: _Proof, control: Sequence[str], literals: str) -> Iterator[str]:
    """Texts that the template knows, and acts on where a message holds them."""
    known = {text.strip() for text in literals.split("\0")} | {*control[:64]}
    for text in sorted(filter(None, known)):
        forms = (text, f"a {text} b", f"{text}\nb", f"a\n{text}")
        held = [proof.holds(messages) for form in forms for messages in proof.conversations(form)]
        if all(held):
            continue
        if len(text) <= _SHORT:
            raise _not_pieces(f"it acts on {text!r} in a message")
        yield text


def _speaker(messages: Sequence[Message], text: str) -> str:
    return next(message.role for message in messages if message.content == text)
