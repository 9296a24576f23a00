"""From messages to a prompt: chat templates rendered so that no text of a user's becomes a control
token.

A `Segment` that is not `control` is tokenized as text. What looks like a control token in a message
comes out in such segments, cut after its first character, so that no tokenizer puts it together
again. Knows no tokenizer.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from edgereason.errors import UsageError
from edgereason.prompt.families import variables as known_variables
from edgereason.prompt.reasoning import Kind, Mode
from edgereason.prompt.standing import Standing, overlap, trusted_text
from edgereason.prompt.template import render_text
from edgereason.records import UNLIMITED, Message, Segment

if TYPE_CHECKING:
    from edgereason.models.bundle import Bundle

__all__ = ["Prompt", "render", "thinking_prompt", "turned"]

# Characters without a meaning; two that nobody used become guards.
_PRIVATE: Final = range(0xF0000, 0xFFFFE)
_ROLES: Final = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered conversation up to where the model goes on.

    `thinking`: whether it will think there. Where thinking was asked for and this is False, the
    conversation switched it off: a flag in a system message, or a template that lets the model
    answer at once.
    """

    segments: tuple[Segment, ...]
    thinking: bool | None


def thinking_prompt(
    bundle: Bundle,
    messages: Sequence[Message],
    thinking: bool | None,
    *,
    budget: int = UNLIMITED,
    tools: Sequence[Mapping[str, Any]] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Prompt:
    """The prompt with the model about to think, or about to answer at once, or (None) as the
    template writes it.

    `budget` turns the template's own dials. `variables` go to the template and win over the
    bundle's own. Earlier reasoning is kept or dropped as the template does it. `/think` and
    `/no_think` in messages are passed on as text; what the template makes of them is read off the
    rendered prompt. A model can always be kept from thinking, but not made to where its prompt has
    closed the thought.
    """
    reasoning = bundle.reasoning
    mode = Mode() if thinking is None else reasoning.on if thinking else reasoning.off
    marked = reasoning.kind is Kind.MARKER
    dials = turned(reasoning.dials, budget) if thinking else {}
    segments = render(
        bundle.chat_template,
        _with_instructions(messages, mode),
        tools=tools,
        bos_token=bundle.bos_token,
        eos_token=bundle.eos_token,
        control_tokens=bundle.control_tokens,
        markers=(*reasoning.opens, *reasoning.shuts) if marked else (),
        **{**mode.variables, **dials, **(variables or {})},
    )
    if thinking is None or not marked:
        return Prompt(segments, thinking)
    text = trusted_text(segments)
    stands = reasoning.standing(text)
    if thinking and stands is Standing.BEHIND:
        return Prompt(segments, thinking=False)
    if thinking:
        return Prompt(_joined(segments, reasoning.enter * (stands is Standing.BEFORE)), True)
    rest = reasoning.answer[overlap(text, reasoning.answer) :]
    tails = {Standing.INSIDE: reasoning.leave, Standing.BEFORE: reasoning.skip}
    return Prompt(_joined(segments, tails.get(stands, rest)), False)


def turned(dials: Mapping[str, Any], budget: int) -> dict[str, Any]:
    """The template's own dials for a thinking budget; left alone where there is no limit."""
    if budget <= 0:
        return {}
    levels = known_variables().levels
    found = {}
    for name, values in dials.items():
        if values == "tokens":
            found[name] = budget
            continue
        names = sorted(values, key=lambda level: levels[level])
        fits = [level for level in names if levels[level] <= budget]
        found[name] = values[fits[-1] if fits else names[0]]
    return found


def _joined(segments: tuple[Segment, ...], tail: str) -> tuple[Segment, ...]:
    """With trusted text after the generation prompt; control tokens in it count."""
    if not tail:
        return segments
    if not segments[-1].control:
        return (*segments, Segment(tail))
    return (*segments[:-1], Segment(segments[-1].text + tail))


def render(
    template: str,
    messages: Sequence[Message],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = True,
    bos_token: str = "",
    eos_token: str = "",
    control_tokens: Sequence[str] = (),
    markers: Sequence[str] = (),
    **variables: Any,
) -> tuple[Segment, ...]:
    """Renders as transformers does: the joined text is what its `apply_chat_template` gives.

    `markers` are reasoning markers. They are guarded like control tokens, except in what the
    assistant said: there they are what they look like, and templates cut earlier thoughts out by
    them.

    Where a template asks whether a message *starts* with the text of a control token, it is told
    no, as under transformers' `sanitize_control_tokens`; only then the text may differ from an
    unguarded rendering.
    """
    if not template:
        raise UsageError("this model has no chat template", "use an instruct or reasoning model")
    names = {
        name: text for name, text in (("bos_token", bos_token), ("eos_token", eos_token)) if text
    }
    turns = [_as_dict(message) for message in messages]
    given = list(tools) if tools else None
    text = "".join(_texts([turns, given, variables]))
    guards = _Guards.chosen(template, control_tokens, markers, text)
    data = {
        "messages": [guards.put_turn(turn) for turn in turns],
        "tools": guards.put(given),
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
        **names,
        **guards.put(variables),
    }
    pieces = guards.cut(render_text(template, data))
    return tuple(piece for piece in pieces if piece.text) or (Segment(""),)


def _with_instructions(messages: Sequence[Message], mode: Mode) -> Sequence[Message]:
    turns = list(messages)
    if mode.system:
        if turns and turns[0].role == "system":
            turns[0] = replace(turns[0], content=f"{turns[0].content}\n{mode.system}")
        else:
            turns.insert(0, Message("system", mode.system))
    if mode.suffix:
        last = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=None)
        if last is None:
            raise UsageError("the conversation has no message of the user's to answer")
        turns[last] = replace(turns[last], content=turns[last].content + mode.suffix)
    return turns


def _as_dict(message: Message) -> dict[str, str]:
    """As transformers passes it on: most templates read `reasoning_content`, some `thinking`."""
    turn = {"role": message.role, "content": message.content}
    if message.reasoning is None:
        return turn
    return {"thinking": message.reasoning, **turn, "reasoning_content": message.reasoning}


@dataclass(frozen=True, slots=True)
class _Guards:
    """Two characters put around every lookalike before rendering, found and taken out after it."""

    lookalikes: re.Pattern[str]
    everywhere: re.Pattern[str]  # what is guarded in a text: (lookalike) or the start of one
    spoken: re.Pattern[str]  # the same for what the assistant said, where markers are let through
    left: str
    right: str

    @classmethod
    def chosen(
        cls, template: str, tokens: Sequence[str], markers: Sequence[str], text: str
    ) -> _Guards:
        tokens = [token for token in tokens if token]
        # Markers made of several control tokens (gpt-oss) are guarded by those, wherever they are.
        if any(token != mark and token in mark for mark in markers for token in tokens):
            markers = ()
        always = _any_of(tuple(token for token in tokens if token not in markers))
        every = _any_of((*tokens, *markers))
        # A template that takes words out could join two halves: it gets a guard after each start.
        firsts = {text[0] for text in (*tokens, *markers) if not text[0].isalnum()}
        starts = _any_of(tuple(firsts) if "replace" in template else ())
        used = set(text)
        unused = (char for char in map(chr, _PRIVATE) if char not in used)
        return cls(
            lookalikes=re.compile(every),
            everywhere=re.compile(f"({every})|(?:{starts})"),
            spoken=re.compile(f"({always})|(?:{_any_of(tuple(markers))})|(?:{starts})"),
            left=next(unused),
            right=next(unused),
        )

    def put_turn(self, turn: Mapping[str, str]) -> dict[str, str]:
        spoken = turn["role"] == "assistant"
        return {
            key: text if key == "role" and text in _ROLES else self.put(text, spoken)
            for key, text in turn.items()
        }

    def put(self, value: Any, spoken: bool = False) -> Any:
        if isinstance(value, str):
            return (self.spoken if spoken else self.everywhere).sub(self._put_one, value)
        if isinstance(value, Mapping):
            return {self.put(key): self.put(item, spoken) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.put(item, spoken) for item in value]
        return value

    def _put_one(self, match: re.Match[str]) -> str:
        if match[1]:
            return self.left + match[0] + self.right
        return match[0] if len(match[0]) > 1 else match[0] + self.right

    def cut(self, text: str) -> Iterator[Segment]:
        """The segments between the guards.

        A template may have parted a pair (`split`, a slice): what touches a lone guard is taken for
        a lookalike, too, and a lone guard ends its segment, so that the halves of a lookalike
        cannot meet.
        """
        left, right, token = self.left, self.right, self.lookalikes.pattern
        found = re.compile(f"{left}({token}){right}?|({token}){right}|[{left}{right}]")
        start = 0
        for match in found.finditer(text):
            yield Segment(text[start : match.start()])
            yield from self._as_text(match[1] or match[2] or "")
            start = match.end()
        yield Segment(text[start:])

    def _as_text(self, lookalike: str) -> Iterator[Segment]:
        """Cut after its first character, and after that of every shorter token inside."""
        inside = re.finditer(f"(?={self.lookalikes.pattern})", lookalike)
        cuts = [0, *(match.start() + 1 for match in inside), len(lookalike)]
        for begin, end in itertools.pairwise(cuts):
            yield Segment(lookalike[begin:end], control=False)


@lru_cache(maxsize=64)
def _any_of(texts: tuple[str, ...]) -> str:
    """A pattern that finds any of the texts, the longest first; nothing where there are none."""
    known = sorted({text for text in texts if text})
    return _tree(known) if known else "(?!)"


def _tree(texts: list[str]) -> str:
    """Sorted texts as one pattern that looks at no character twice: some models have thousands."""
    prefix = _common_start(texts[0], texts[-1])
    rests = [text[len(prefix) :] for text in texts]
    longer = itertools.groupby(filter(None, rests), key=lambda rest: rest[0])
    branches = "|".join(_tree(list(group)) for _, group in longer)
    if not branches:
        return re.escape(prefix)
    return f"{re.escape(prefix)}(?:{branches}){'' if rests[0] else '?'}"


def _common_start(one: str, other: str) -> str:
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(char for char, _ in pairs)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
