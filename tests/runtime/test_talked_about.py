"""Marks that a model only talks about stay in its answer, and whatever ends a thought, an answer
follows: on the scripted engine, whichever way the texts are cut into tokens.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgereason import Channel, Reasoner, StopReason
from support.chat_templates import QWEN3
from support.scripted_models import opened

THOUGHT = "one two three"
FORCED = "\n</think>\n\n"
TALK = (
    "Qwen3 starts with <think> and then writes. Done.",
    "It writes <think>, thinks, and writes </think> before the answer.",
    "Its marks are `<think>` and `</think>`.",
    "So:\n```\n<think>\nhm\n</think>\n```\nThat is all.",
)


def scripted(folder: Path, rules: dict[str, str], words: list[str], control: bool) -> Reasoner:
    marks = ["<think>", "</think>"] if control else []
    return opened(folder, QWEN3, rules.items(), words, marks)


def check(reasoner: Reasoner, answer: str, reasoning: str, **options: object) -> None:
    handle = reasoner.submit("Marks?", strategy="think", stream=True, **options)  # type: ignore[arg-type]
    pieces = list(handle)
    told = handle.result()
    assert (told.answer, told.reasoning) == (answer, reasoning)
    assert told.finish is (StopReason.BUDGET if options else StopReason.STOP)
    for channel, text in ((Channel.ANSWER, answer), (Channel.REASONING, reasoning)):
        shown = "".join(piece.text for piece in pieces if piece.channel is channel)
        assert shown.split() == text.split()


@pytest.mark.parametrize("talk", TALK)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_mark_that_is_talked_about_is_text(talk: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(talk) - 1), max_size=12)))
    words = [talk[a:b] for a, b in zip([0, *cuts], [*cuts, len(talk)], strict=True)]
    control = data.draw(st.booleans())
    if control:  # the model's own tokens: none is merged into another
        words = [word for word in words if "<" not in word and ">" not in word]
    rules = {"assistant\n<think>\n": f"{THOUGHT}</think>", f"{THOUGHT}</think>": talk, FORCED: talk}
    words = [word for word in words if len(word) > 1 and word not in THOUGHT]
    with (
        TemporaryDirectory() as folder,
        scripted(Path(folder), rules, words, control) as reasoner,
    ):
        check(reasoner, talk, THOUGHT)
        check(reasoner, talk, "on", think_budget=2)


@pytest.mark.parametrize("control", [True, False])
def test_a_block_that_ends_with_the_turn_gets_its_answer(control: bool, tmp_path: Path) -> None:
    rules = {
        "<think>\n": f"{THOUGHT}</think>\n<think>",
        "</think>\n<think>": "more",
        "more\n</think>\n\n": "Four.",
    }
    with scripted(tmp_path, rules, [], control) as reasoner:
        check(reasoner, "Four.", f"{THOUGHT}\nmore")


def test_a_mark_spelled_in_other_tokens_ends_no_thought(tmp_path: Path) -> None:
    """As a model repeats it from the question, where it never is the token."""
    rules = {
        "<think>\n": "the text </",
        "the text </": "think> ends it",
        "ends it": "</think>Four.",
    }
    with scripted(tmp_path, rules, ["</"], True) as reasoner:
        check(reasoner, "Four.", "the text </think> ends it")
