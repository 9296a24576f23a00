"""What every strategy must hold, on the scripted engine: budgets, deadlines, cancels, reports.

A strategy file that appears in `edgereason/strategies/` is tested here without being named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from edgereason import strategies
from edgereason.errors import UnsupportedError
from edgereason.grammars import Grammar
from edgereason.records import Answer, Capability, Sampling, StopReason
from edgereason.registry import load, names
from edgereason.runtime.reasoner import Reasoner
from edgereason.strategies.base import choose
from support.places import SCRIPTED

QUESTION = "What is 17 * 3?"

every = pytest.mark.parametrize("strategy", names(strategies))


@pytest.fixture(scope="module")
def reasoner() -> Iterator[Reasoner]:
    with Reasoner.open(SCRIPTED) as opened:
        yield opened


@pytest.fixture(scope="module")
def slow() -> Iterator[Reasoner]:
    """Each step takes 5 ms."""
    with Reasoner.open(SCRIPTED, sleep_ms=5) as opened:
        yield opened


def check_report(answer: Answer, asked: int) -> None:
    """What the answer says of itself adds up."""
    data = answer.to_dict()
    think, answered = answer.budget.think_tokens, answer.budget.answer_tokens
    assert think.asked == asked
    assert asked < 0 or 0 <= think.effective <= asked
    assert think.effective < 0 or think.used <= think.effective
    assert answered.used <= answered.effective <= answered.asked
    assert think.used <= answer.usage.reasoning_tokens
    assert data["finish"] in {reason.value for reason in StopReason}
    assert sum(phase.tokens for phase in answer.phases) >= answer.usage.answer_tokens
    assert answer.timings.total_ms >= 0
    assert answer.confidence is None or 0 <= answer.confidence <= 1


@every
def test_module_has_the_three_names(strategy: str) -> None:
    module = load(strategies, strategy)
    assert isinstance(module.needs, Capability)
    assert all("help" in field.metadata for field in fields(module.Config))
    assert module.Config() == module.Config()
    assert module.__doc__
    assert "->" in module.__doc__, "the docstring shows the phases"


@every
@pytest.mark.parametrize("budget", [0, 1, 17, 200, -1])
@pytest.mark.parametrize("probe_every", [0, 4])
def test_budget_holds(reasoner: Reasoner, strategy: str, budget: int, probe_every: int) -> None:
    for seed in range(3):
        answer = reasoner.ask(
            QUESTION,
            strategy=strategy,
            think_budget=budget,
            answer_budget=12,
            probe_every=probe_every,
            sampling=Sampling(temperature=0.8, seed=seed),
        )
        check_report(answer, budget)
        assert answer.usage.reasoning_tokens == 0 or budget != 0


@every
def test_budget_holds_in_a_batch(reasoner: Reasoner, strategy: str) -> None:
    handles = [
        reasoner.submit(QUESTION, strategy=strategy, think_budget=17, answer_budget=8)
        for _ in range(4)
    ]
    for handle in handles:
        check_report(handle.result(30), 17)


@every
def test_greedy_answers_do_not_change(reasoner: Reasoner, strategy: str) -> None:
    def ask() -> Answer:
        return reasoner.ask(QUESTION, strategy=strategy, think_budget=32, answer_budget=12)

    first = ask()
    assert (ask().answer, ask().reasoning) == (first.answer, first.reasoning)


@every
def test_deadline_is_kept(slow: Reasoner, strategy: str) -> None:
    answer = slow.ask(QUESTION, strategy=strategy, answer_budget=4, deadline_ms=400)
    assert answer.budget.deadline_ms.late_ms <= 20  # a few steps on a busy machine
    check_report(answer, -1)


@every
def test_impossible_deadline_still_returns(slow: Reasoner, strategy: str) -> None:
    answer = slow.ask(QUESTION, strategy=strategy, deadline_ms=1)
    # Of several lines at once those that cannot be in time are told so before they begin.
    assert answer.finish in (StopReason.DEADLINE, StopReason.REFUSED)
    assert answer.budget.deadline_ms.asked == 1


@every
def test_cancel_returns_and_frees_the_cells(strategy: str) -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=5) as slow:  # holds nothing of requests with deadlines
        handle = slow.submit(QUESTION, strategy=strategy)
        handle.cancel()
        answer = handle.result(5)
        assert answer.finish is StopReason.CANCELLED
        assert slow.wait_idle()
        assert slow.stats()["num_free_cells"] == slow.engine.info["num_cells"]


@every
def test_stop_thinking_still_answers(slow: Reasoner, strategy: str) -> None:
    handle = slow.submit(QUESTION, strategy=strategy, answer_budget=8)
    handle.stop_thinking()
    assert handle.result(10).finish is not StopReason.CANCELLED


@every
def test_streamed_text_is_the_answer(reasoner: Reasoner, strategy: str) -> None:
    handle = reasoner.stream(QUESTION, strategy=strategy, think_budget=64, answer_budget=12)
    texts: dict[Any, str] = {}
    for chunk in handle:
        texts[chunk.channel.value] = texts.get(chunk.channel.value, "") + chunk.text
    answer = handle.result()
    assert texts["answer"].strip() == answer.answer


@every
@pytest.mark.parametrize("budget", [1, 6, 40])
def test_an_answer_follows_its_grammar_or_is_refused(
    reasoner: Reasoner, strategy: str, budget: int
) -> None:
    pytest.importorskip("llguidance")
    grammar = Grammar.json(
        {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    )
    try:
        answer = reasoner.ask(
            QUESTION,
            strategy=strategy,
            grammar=grammar,
            think_budget=24,
            answer_budget=budget,
            sampling=Sampling(temperature=0.8),
        )
    except UnsupportedError:
        assert not choose(strategy).takes_grammar
        return
    value = json.loads(answer.answer)
    assert budget < 40 or list(value)[:1] == ["n"]


@every
def test_unknown_option_is_refused_with_a_suggestion(reasoner: Reasoner, strategy: str) -> None:
    with pytest.raises(Exception, match=f"unknown option of {strategy}"):
        reasoner.ask(QUESTION, strategy=strategy, options={"smaples": 3})
