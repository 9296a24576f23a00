"""Test zero of a way: at its neutral setting it is plain thinking, token for token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

NEUTRAL: dict[str, dict[str, Any]] = {
    "abstractions": {"hints": 0},
    "agile": {},
    "concise": {"hint": ""},
    "critique": {"rounds": 0},
    "debate": {"samples": 1},
    "demos": {},  # without a file
    "explore": {"samples": 0},
    "gate": {"entropy": float("inf")},
    "joint": {"ways": ["think"]},
    "medprompt": {},  # the question has no choices
    "memory": {},
    "self-evolve": {"rounds": 0},
    "soft": {"top": 1},
    "swi": {"top": 1},
    "tools": {"calls": 0},
    "tree": {"branches": 1},
    "verify": {"samples": 1},
}


@pytest.fixture(scope="module")
def reasoner() -> Iterator[Reasoner]:
    with Reasoner.open(SCRIPTED) as opened:
        yield opened


def tokens(reasoner: Reasoner, strategy: str, options: dict[str, Any], seed: int) -> list[Any]:
    handle = reasoner.submit(
        "Why is that so?",
        strategy=strategy,
        options=options,
        think_budget=40,
        answer_budget=12,
        sampling=Sampling(temperature=0.8, seed=seed),
    )
    answer = handle.result(30)
    return [answer.answer, *((one.tokens, one.role) for line in handle.chains for one in line)]


@pytest.mark.parametrize("strategy", NEUTRAL)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_neutral_setting_is_plain_thinking(
    reasoner: Reasoner, strategy: str, seed: int
) -> None:
    assert tokens(reasoner, strategy, NEUTRAL[strategy], seed) == tokens(
        reasoner, "think", {}, seed
    )


_ELSEWHERE = {"agile", "concise", "demos", "medprompt", "memory"}


# The script replies to `agile` whatever is quoted to it, and 40 tokens are too few for a hint: see
# their own tests.
@pytest.mark.parametrize("strategy", set(NEUTRAL) - _ELSEWHERE)
def test_another_setting_is_not(reasoner: Reasoner, strategy: str) -> None:
    """Or the test above would hold for a way that does nothing. Their scripted thought is noise."""
    asked = {"gate": {"entropy": 0.0}}.get(strategy, {})
    assert tokens(reasoner, strategy, asked, 0) != tokens(reasoner, "think", {}, 0)
