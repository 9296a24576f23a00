"""Prompts that must not change: token ids as they were before prompts were read off their ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgereason import Message, Reasoner

CONVERSATIONS = {
    "question": (Message("user", "What is 4+5?"),),
    "system": (Message("system", "Be brief."), Message("user", "What is 4+5?")),
    "turns": (
        Message("user", "a"),
        Message("assistant", "b", "because"),
        Message("user", "c <b> | </think> <|im_end|>"),
    ),
}
BEFORE = json.loads(Path(__file__).with_name("unchanged.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "model", ["nano", "nano-infty", pytest.param("smollm2-135m", marks=pytest.mark.model)]
)
def test_tokens_of_prompts_are_those_of_before(model: str) -> None:
    with Reasoner.open(model) as reasoner:
        found = {
            f"{name} {thinking}": list(reasoner.prompt_tokens(messages, thinking=thinking))
            for name, messages in CONVERSATIONS.items()
            for thinking in (True, False, None)
        }
    assert found == BEFORE[model]
