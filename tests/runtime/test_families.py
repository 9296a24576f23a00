"""Families of reasoning models from end to end, on the scripted engine: each text in its channel,
no mark in either, whichever way the texts are cut into tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgereason import Channel, Message, Reasoner
from edgereason.models.bundle import Bundle
from edgereason.prompt.detection import detect_reasoning
from edgereason.prompt.reasoning import Kind, Reasoning
from support.chat_templates import NEMOTRON
from support.family_templates import FAMILIES, NAMES
from support.scripted_models import opened

THOUGHT, ANSWER = "one two three", "Four."
every = pytest.mark.parametrize("family", FAMILIES)


def scripted(
    folder: Path,
    family: str,
    words: Sequence[str] = (),
    *,
    thought: str = THOUGHT,
    said: str = ANSWER,
) -> Reasoner:
    """A model that thinks `thought` and answers `said`, with the marks of its family."""
    template, name = FAMILIES[family], NAMES.get(family, "")
    reasoning = detect_reasoning(template, name=name)
    assert reasoning.kind is Kind.MARKER
    shut = reasoning.shuts[0]
    answer = said + reasoning.answer_end
    rules = [
        ("<|im_start|>assistant\n", answer),  # where the prompt leaves it all to the model
        (reasoning.skip, answer),
        (reasoning.enter, f"{thought}{shut}"),
        ("\nWait", shut),
        (shut, answer),
        # The model may write `close` itself, in tokens that go on into the answer.
        (reasoning.close, answer.removeprefix(reasoning.close.partition(shut)[2])),
        (reasoning.answer, answer),
    ]
    return opened(folder, template, [rule for rule in rules if rule[0]], words, name=name)


def marks_of(reasoning: Reasoning) -> list[str]:
    texts = (*reasoning.opens, *reasoning.shuts, reasoning.answer, reasoning.answer_end)
    return [text.strip() for text in texts if text.strip()]


def check(
    reasoner: Reasoner,
    strategy: str,
    thinks: bool | None,
    *,
    said: str = ANSWER,
    **options: object,
) -> None:
    handle = reasoner.submit("Two and two?", strategy=strategy, stream=True, **options)  # type: ignore[arg-type]
    pieces = list(handle)
    answer = handle.result()
    assert answer.answer == said.strip()
    assert thinks is None or bool(answer.reasoning) is thinks, answer
    assert answer.finish.value in ("stop", "budget")
    for mark in marks_of(reasoner.bundle.reasoning):
        assert mark not in answer.answer + answer.reasoning
    texts = {
        channel: "".join(piece.text for piece in pieces if piece.channel is channel)
        for channel in Channel
    }
    assert texts[Channel.ANSWER] == answer.answer
    assert texts[Channel.REASONING] == answer.reasoning


@every
def test_every_text_is_in_its_channel(family: str, tmp_path: Path) -> None:
    with scripted(tmp_path, family) as reasoner:
        check(reasoner, "think", True)
        check(reasoner, "no-think", False)
        check(reasoner, "think", False, think_budget=0)
        check(reasoner, "think", True, think_budget=3)
        check(reasoner, "budget-forcing", True)
        answer = reasoner.ask("Two and two?", strategy="vote", options={"samples": 3})
        assert answer.answer == ANSWER
        assert answer.reasoning == THOUGHT


@every
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whichever_way_the_texts_are_cut(family: str, data: st.DataObject) -> None:
    reasoning = detect_reasoning(FAMILIES[family], name=NAMES.get(family, ""))
    words = cut(data, f"{THOUGHT}{reasoning.shuts[0]}{reasoning.answer}{ANSWER}", reasoning)
    with TemporaryDirectory() as folder, scripted(Path(folder), family, words) as reasoner:
        check(reasoner, "think", True)
        check(reasoner, "no-think", False)


def cut(data: st.DataObject, text: str, reasoning: Reasoning) -> list[str]:
    """A vocabulary of some words of what the model writes; the rest is written byte for byte."""
    whole = text + reasoning.answer_end
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=12)))
    words = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    return [word for word in words if len(word.encode()) > 1]


BLANK = st.text(" \n\t", max_size=3)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.data(),
    family=st.sampled_from(["qwen3", "ernie", "gpt-oss", "granite-3.3"]),
    thought=st.tuples(BLANK, BLANK, BLANK).map(lambda b: f"{b[0]}one{b[1]}two{b[2]}"),
    said=st.tuples(BLANK, BLANK, BLANK).map(lambda b: f"{b[0]}Four{b[1]}.{b[2]}"),
)
def test_blanks_at_the_ends_are_neither_streamed_nor_answered(
    data: st.DataObject, family: str, thought: str, said: str
) -> None:
    """Once the last blank was streamed, and missing in the result."""
    reasoning = detect_reasoning(FAMILIES[family])
    words = cut(data, f"{thought}{reasoning.shuts[0]}{reasoning.answer}{said}", reasoning)
    with (
        TemporaryDirectory() as folder,
        scripted(Path(folder), family, words, thought=thought, said=said) as reasoner,
    ):
        check(reasoner, "think", True, said=said)
        check(reasoner, "no-think", False, said=said)
        # Where the first two tokens of a thought are blanks, they are all there is to think of.
        check(reasoner, "think", None, said=said, think_budget=2)


@pytest.mark.parametrize(
    "strategy", ["think", "auto", "hbpo", "auto-think", "budget-forcing", "vote", "infty-think"]
)
def test_a_conversation_that_switches_thinking_off_is_honoured_and_told(
    strategy: str, tmp_path: Path
) -> None:
    """Nemotron with `/no_think` in its system message: its prompt ends behind an empty thought."""
    messages = (Message("system", "Be brief. /no_think"), Message("user", "Two and two?"))
    with scripted(tmp_path, "nemotron") as reasoner:
        silent = reasoner.ask(messages, strategy=strategy, think_budget=20)
        assert (silent.answer, silent.reasoning) == (ANSWER, "")
        told = silent.budget.think_tokens
        assert (told.asked, told.effective, told.used, told.ended_by) == (20, 0, 0, "prompt")
        loud = reasoner.ask("Two and two?", strategy="think", think_budget=99)
        assert (loud.answer, loud.reasoning) == (ANSWER, THOUGHT)
        assert loud.budget.think_tokens.ended_by == "stop"


def test_a_strategy_that_does_not_ask_is_told(tmp_path: Path) -> None:
    from edgereason.errors import UsageError
    from edgereason.records import Budget, Role, Sampling
    from edgereason.strategies.base import Turn

    bundle = Bundle(
        path=tmp_path,
        name="x",
        engine="scripted",
        files=(),
        chat_template=NEMOTRON,
        reasoning=detect_reasoning(NEMOTRON),
    )
    messages = (Message("system", "/no_think"), Message("user", "x"))
    turn = Turn(bundle, messages, Budget(), Sampling())
    assert turn.think(then=turn.answer()).role is Role.ANSWER
    with pytest.raises(UsageError, match="switches the model's thinking off"):
        turn.think()
