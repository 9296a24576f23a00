"""Thoughts of earlier turns stay in the prompt or leave it, as the template has it, and the KV of a
conversation is reused as far as that allows. One token of the scripted engine is one byte.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgereason import Message, Reasoner
from support.chat_templates import QWEN3
from support.scripted_models import opened

THOUGHT, ANSWER = "one two three", "Four."
SAID = f"{THOUGHT}\n</think>\n\n{ANSWER}"
TURN = "{{ '<|im_start|>' + m.role + '\n' }}%s{{ m.content + '<|im_end|>\n' }}"
THOUGHTS = "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
START = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
DROPS = "{% for m in messages %}" + TURN % "" + "{% endfor %}" + START
KEEPS = "{% for m in messages %}" + TURN % THOUGHTS + "{% endfor %}" + START


def scripted(folder: Path, template: str) -> Reasoner:
    return opened(folder, template, [("assistant\n<think>\n", SAID)])


def turns(reasoner: Reasoner, roles: tuple[str, ...]) -> list[tuple[int, int]]:
    """Asks once for each role, whose message comes last: (prompt tokens, those cached)."""
    messages: list[Message] = []
    told = []
    for number, role in enumerate(roles):
        messages.append(Message(role, f"say {number}"))
        answer = reasoner.ask(messages, strategy="think", keep=True)
        assert (answer.answer, answer.reasoning) == (ANSWER, THOUGHT)
        told.append((answer.usage.prompt_tokens, answer.usage.cached_tokens))
        messages.append(Message("assistant", answer.answer, answer.reasoning))
    return told


@pytest.mark.parametrize("template", [DROPS, KEEPS])
def test_three_turns_reuse_what_the_template_leaves(template: str, tmp_path: Path) -> None:
    with scripted(tmp_path, template) as reasoner:
        (one, none), (two, second), (_, third) = turns(reasoner, ("user",) * 3)
    assert none == 0
    # All of the turn before, up to where its thought stood, or up to the end of its answer.
    opened, whole = len("<think>\n"), len(SAID)
    if template is KEEPS:
        assert (second, third) == (one + whole, two + whole)
    else:
        assert (second, third) == (one - opened, two - opened)


def test_a_tool_loop_keeps_its_thoughts_where_the_template_does(tmp_path: Path) -> None:
    """Qwen3: thoughts since the last question stay, until the next one drops them."""
    with scripted(tmp_path, QWEN3) as reasoner:
        (one, _), (two, second), (_, third), (_, fourth) = turns(
            reasoner, ("user", "tool", "tool", "user")
        )
    assert (second, third) == (one + len(SAID), two + len(SAID))
    assert fourth == one - len("<think>\n")
