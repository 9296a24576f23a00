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
from support.family_templates import FAMILIES
from support.scripted_models import opened

THOUGHT, ANSWER = "one two three", "Four."
every = pytest.mark.parametrize("family", FAMILIES)


def scripted(folder: Path, template: str, words: Sequence[str] = ()) -> Reasoner:
    """A model that thinks THOUGHT and answers ANSWER, with the marks of its family."""
    reasoning = detect_reasoning(template)
    assert reasoning.kind is Kind.MARKER
    shut = reasoning.shuts[0]
    answer = ANSWER + reasoning.answer_end
    rules = [
        ("<|im_start|>assistant\n", answer),  # where the prompt leaves it all to the model
        (reasoning.skip, answer),
        (reasoning.enter, f"{THOUGHT}{shut}"),
        ("\nWait", shut),
        (shut, answer),
        (reasoning.close, answer),
        (reasoning.answer, answer),
    ]
    return opened(folder, template, [rule for rule in rules if rule[0]], words)


def marks_of(reasoning: Reasoning) -> list[str]:
    texts = (*reasoning.opens, *reasoning.shuts, reasoning.answer, reasoning.answer_end)
    return [text.strip() for text in texts if text.strip()]


def check(reasoner: Reasoner, strategy: str, thinks: bool, **options: object) -> None:
    handle = reasoner.submit("Two and two?", strategy=strategy, stream=True, **options)  # type: ignore[arg-type]
    pieces = list(handle)
    answer = handle.result()
    assert answer.answer == ANSWER
    assert bool(answer.reasoning) is thinks, answer
    assert answer.finish.value in ("stop", "budget")
    for mark in marks_of(reasoner.bundle.reasoning):
        assert mark not in answer.answer + answer.reasoning
    texts = {
        channel: "".join(piece.text for piece in pieces if piece.channel is channel)
        for channel in Channel
    }
    assert texts[Channel.ANSWER].strip() == answer.answer
    if strategy != "vote":
        assert texts[Channel.REASONING].strip() == answer.reasoning


@every
def test_every_text_is_in_its_channel(family: str, tmp_path: Path) -> None:
    with scripted(tmp_path, FAMILIES[family]) as reasoner:
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
    reasoning = detect_reasoning(FAMILIES[family])
    whole = f"{THOUGHT}{reasoning.shuts[0]}{reasoning.answer}{ANSWER}{reasoning.answer_end}"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=12)))
    words = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    words = [word for word in words if len(word.encode()) > 1]
    with (
        TemporaryDirectory() as folder,
        scripted(Path(folder), FAMILIES[family], words) as reasoner,
    ):
        check(reasoner, "think", True)
        check(reasoner, "no-think", False)


@pytest.mark.parametrize(
    "strategy", ["think", "auto", "hbpo", "auto-think", "budget-forcing", "vote", "infty-think"]
)
def test_a_conversation_that_switches_thinking_off_is_honoured_and_told(
    strategy: str, tmp_path: Path
) -> None:
    """Nemotron with `/no_think` in its system message: its prompt ends behind an empty thought."""
    messages = (Message("system", "Be brief. /no_think"), Message("user", "Two and two?"))
    with scripted(tmp_path, NEMOTRON) as reasoner:
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
