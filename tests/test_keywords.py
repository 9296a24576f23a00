"""Requests as they are written in a call."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

from edgereason import AsyncReasoner, Reasoner
from edgereason.errors import UsageError
from edgereason.keywords import Keywords, request_of
from edgereason.records import Budget, Message, Request


def test_every_field_of_a_request_has_a_keyword() -> None:
    budget = {
        "think_tokens": "think_budget",
        "answer_tokens": "answer_budget",
        "total_tokens": "total_budget",
    }
    names = {budget.get(field.name, field.name) for field in fields(Budget)}
    names |= {field.name for field in fields(Request)} - {"messages", "budget"}
    assert set(Keywords.__annotations__) == names


@pytest.mark.parametrize(
    "method", [Reasoner.ask, Reasoner.stream, Reasoner.submit, AsyncReasoner.ask, request_of]
)
def test_help_has_names_types_and_defaults(method: object) -> None:
    signature = inspect.signature(method)  # type: ignore[arg-type]  # all of them are callable
    assert set(Keywords.__annotations__) <= set(signature.parameters)
    assert "think_budget: int = -1" in str(signature)
    assert "soft: float = 0.8" in str(signature)
    assert "keywords" not in signature.parameters


def test_keywords_make_the_same_request() -> None:
    made = request_of("Hi", strategy="vote", options={"samples": 3}, think_budget=9, stop=["."])
    budget = Budget(think_tokens=9)
    assert made == Request(
        (Message("user", "Hi"),),
        strategy="vote",
        options={"samples": 3},
        budget=budget,
        stop=(".",),
    )
    assert request_of("Hi") == Request((Message("user", "Hi"),))
    assert request_of(made) is made


def test_a_wrong_keyword_names_the_nearest_and_all() -> None:
    with pytest.raises(UsageError, match="unknown option 'probe_evry'") as raised:
        request_of("Hi", probe_evry=3)  # type: ignore[call-arg]  # what is tested
    assert raised.value.hint.startswith(
        "did you mean 'probe_every'? known: adapters, answer_budget, "
    )
