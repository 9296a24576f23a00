"""From messages to a prompt: chat templates rendered so that no text of a user's becomes a control
token.

A `Segment` that is not `control` is tokenized as text. What looks like a control token in a message
comes out in such segments, cut after its first character, so that no tokenizer puts it together
again. Knows no tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgereason.errors import BundleError, UsageError
from edgereason.prompt.families import variables as known_variables
from edgereason.prompt.guards import Guards
from edgereason.prompt.reasoning import Kind, Mode
from edgereason.prompt.standing import Standing, overlap, trusted_text
from edgereason.prompt.template import Content, content_of, render_text
from edgereason.prompt.tool_detection import tool_format
from edgereason.prompt.tools import ToolFormat, as_turns, specs_of, told_messages
from edgereason.records import UNLIMITED, Message, Segment

if TYPE_CHECKING:
    from edgereason.models.bundle import Bundle

__all__ = ["Prompt", "format_of", "render", "thinking_prompt", "turned"]


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

    `tools` are functions that the model may call, see `records.Tools`. `budget` turns the
    template's own dials. `variables` go to the template and win over the bundle's own. Earlier
    reasoning is kept or dropped as the template does it. `/think` and
    `/no_think` in messages are passed on as text; what the template makes of them is read off the
    rendered prompt. A model can always be kept from thinking, but not made to where its prompt has
    closed the thought.
    """
    reasoning = bundle.reasoning
    marked = reasoning.kind is Kind.MARKER
    on, off = (reasoning.on.system, reasoning.off.system)
    said_on = bool(on) and _says(messages, on)
    if thinking and on and _says(messages, off) and not said_on:
        thinking = False  # no template shows what only the model knows
    mode = Mode() if thinking is None else reasoning.on if thinking else reasoning.off
    dials = turned(reasoning.dials, budget) if thinking else {}
    called = bool(tools) or any(turn.calls or turn.call_id for turn in messages)
    form = format_of(bundle) if called else None
    _check_reads(bundle)
    if form is not None and form.told:
        messages, tools = told_messages(messages, tools or ()), None
    segments = render(
        bundle.chat_template,
        _with_instructions(messages, mode),
        tools=specs_of(tools) if tools else None,
        form=form,
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
    skip = reasoning.skip or (reasoning.enter + reasoning.leave) * said_on
    tails = {Standing.INSIDE: reasoning.leave, Standing.BEFORE: skip}
    return Prompt(_joined(segments, tails.get(stands, rest)), False)


def _check_reads(bundle: Bundle) -> None:
    names = bundle.bos_token, bundle.eos_token
    if bundle.chat_template and content_of(bundle.chat_template, *names) is Content.NONE:
        raise BundleError(
            "the model's chat template leaves out what the user says",
            "ask with --strategy raw, which uses no template, or take the model from elsewhere",
        )


def format_of(bundle: Bundle) -> ToolFormat:
    """How the model writes calls of tools."""
    return tool_format(bundle.chat_template, bundle.bos_token, bundle.eos_token)


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
    form: ToolFormat | None = None,
    add_generation_prompt: bool = True,
    bos_token: str = "",
    eos_token: str = "",
    control_tokens: Sequence[str] = (),
    markers: Sequence[str] = (),
    **variables: Any,
) -> tuple[Segment, ...]:
    """Renders as transformers does: the joined text is what its `apply_chat_template` gives.

    `form` says how the template takes calls of tools that were made.

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
    turns = as_turns(messages, form)
    if content_of(template, bos_token, eos_token) is Content.PARTS:
        turns = [_in_parts(turn) for turn in turns]
    given = list(tools) if tools else None
    text = "".join(_texts([turns, given, variables]))
    guards = Guards.chosen(template, control_tokens, markers, text)

    def rendered(turns: list[dict[str, Any]], given: Any, variables: Any) -> tuple[Segment, ...]:
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

    segments = rendered(turns, given, variables)
    if guards.near.search(text):
        harmless = [guards.harmless_turn(turn) for turn in turns]
        clean = rendered(harmless, guards.harmless(given), guards.harmless(variables))
        _check_controls(guards.controls(segments), guards.controls(clean))
    return segments


def _in_parts(turn: dict[str, Any]) -> dict[str, Any]:
    content = turn["content"]
    return {**turn, "content": [{"type": "text", "text": content}] if content else content}


def _check_controls(found: Sequence[str], clean: Sequence[str]) -> None:
    if found == clean:
        return
    more = next((token for token in found if found.count(token) > clean.count(token)), "")
    raise UsageError(
        f"the chat template turns a text of this conversation into control tokens: {more!r}",
        "take it out of the text, or use a model whose template leaves texts as they are",
    )


def _says(messages: Sequence[Message], sentence: str) -> bool:
    """Somebody wrote it into a system message, as those do who know the model."""
    return bool(sentence) and any(
        sentence in turn.content for turn in messages if turn.role == "system"
    )


def _with_instructions(messages: Sequence[Message], mode: Mode) -> Sequence[Message]:
    turns = list(messages)
    if mode.system and not _says(messages, mode.system):
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
