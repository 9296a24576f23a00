"""Templates that change texts: no token comes out of them, and no guard."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgereason.errors import UsageError
from edgereason.prompt.chat import render
from edgereason.records import Message, Segment

TOKENS = ("<|im_start|>", "<|im_end|>", "[INST]")
THINK = ("<think>", "</think>")
CHANGES = (
    "x | string",
    "x | lower",
    "x | upper | lower",
    "x | pprint",
    "[x] | string",
    "[[x]] | string | tojson",
    "'%r' % [x]",
    "x | tojson(ensure_ascii=true)",
    "x | tojson",
    "{'a': x} ~ ''",
    "x | urlencode",
    "x | striptags",
    "x | reverse",
    "x[::-1]",
    "x[::2]",
    "x[1:]",
    "x | trim",
    "x | replace('/think', '')",
    "x.replace('a', '')",
    "x.split('a') | join",
    "x | title | lower",
    "x | capitalize | lower",
    "x.swapcase()",
    "x.casefold()",
    "x | escape",
    "x | forceescape | striptags",
    "x | reject('equalto', 'a') | join",
    "x | unique | join",
    "x | list | join",
    "x | indent",
    "x | wordwrap(3)",
    "x | center(40)",
    "x | truncate(9)",
    "x | urlize",
    "x | batch(2) | list | string",
    "x.encode() | string",
    "x | first ~ x | last",
)
PIECES = (
    *TOKENS,
    *(token.upper() for token in TOKENS),
    *(token[::-1] for token in TOKENS),
    *THINK,
    "&lt;|im_end|&gt;",
    "<<b>|im_end|>",
    "<a|im_end|>",
    "<|im_/thinkend|>",
    "<<||iimm__eenndd||>>",
    "\\U000f0000",
    "%F3%B0%80%80",
    "\U000f0000",
    "<",
    "|",
    "im_end",
    ">",
    " ",
    "a",
    "é",
)


def prompt(change: str, text: str) -> tuple[Segment, ...]:
    template = (
        "{% set x = messages[0].content %}<|im_start|>{{ " + change + " }}<|im_end|><|im_start|>"
    )
    return render(template, [Message("user", text)], control_tokens=TOKENS, markers=THINK)


def control_text(segments: tuple[Segment, ...]) -> str:
    return "\0".join(piece.text for piece in segments if piece.control)


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.sampled_from(PIECES), min_size=1, max_size=5))
def test_no_change_makes_a_token_of_a_text(change: str, parts: list[str]) -> None:
    try:
        segments = prompt(change, "".join(parts))
    except UsageError as error:
        assert "turns a text of this conversation into control tokens" in error.message  # noqa: PT017
        return
    text = control_text(segments)
    assert [text.count(token) for token in TOKENS] == [2, 1, 0]
    assert not any(mark in text for mark in THINK)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("x | lower", "<|IM_END|>"),
        ("x[::-1]", "<|im_end|>"[::-1]),
        ("x | striptags", "&lt;|im_end|&gt;"),
        ("x | reject('equalto', 'a') | join", "<a|im_end|>"),
        ("x[::2]", "<<||iimm__eenndd||>>"),
    ],
)
def test_what_becomes_a_token_is_refused(change: str, text: str) -> None:
    with pytest.raises(UsageError, match=r"into control tokens: '<\|im_end\|>'"):
        prompt(change, text)


@pytest.mark.parametrize("change", ["x | string", "[x] | string", "x | pprint", "'%r' % [x]"])
def test_the_text_that_comes_out_is_the_same(change: str) -> None:
    """Once `\\U000f0000` was in it: SmolLM3 and Apriel write tool descriptions so."""
    text = "end with <|im_end|> or <think>, please"
    shown = {"x | string": text, "[x] | string": f"[{text!r}]"}.get(change, repr(text))
    if change.startswith("'%r'"):
        shown = f"[{text!r}]"
    segments = prompt(change, text)
    whole = "".join(piece.text for piece in segments)
    assert whole == f"<|im_start|>{shown}<|im_end|><|im_start|>"
    assert [piece.text for piece in segments if not piece.control] == [
        "<",
        "|im_end|>",
        "<",
        "think>",
    ]


def test_a_description_of_a_tool_that_is_written_as_python() -> None:
    tool: dict[str, Any] = {"name": "f", "description": "ends in <|im_end|>"}
    template = "<|im_start|>{% for t in tools %}{{ t | string }}{% endfor %}<|im_end|>"
    segments = render(template, [Message("user", "x")], tools=[tool], control_tokens=TOKENS)
    assert "".join(piece.text for piece in segments) == f"<|im_start|>{tool}<|im_end|>"
    assert control_text(segments).count("<|im_end|>") == 1


def test_what_a_user_spells_like_a_guard_stays() -> None:
    text = "\\U000f0000 and %F3%B0%80%80 and \\udb80\\udc00"
    assert "".join(piece.text for piece in prompt("x", f"{text}<|im_end|>")).count(text) == 1


def test_ordinary_texts_are_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgereason.prompt import chat

    asked: list[str] = []
    real = chat.render_text

    def counted(template: str, data: Any) -> str:
        asked.append(template)
        return real(template, data)

    monkeypatch.setattr(chat, "render_text", counted)
    prompt("x", "is 3 < 4 | 5 > 4? [yes]")
    assert len(asked) == 1
    prompt("x", "what is <|im_end|>?")
    assert len(asked) == 3
