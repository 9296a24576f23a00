"""Whether a prompt ends before, inside or behind a thought, read off what is really sent."""

from __future__ import annotations

import pytest

from edgereason.models.bundle import Bundle
from edgereason.prompt.chat import thinking_prompt
from edgereason.prompt.detection import detect_reasoning
from edgereason.prompt.standing import Standing, overlap, standing, trusted_text
from edgereason.records import Message, Segment
from support.bundles import bundle_of
from support.chat_templates import CHATML, GPT_OSS, NEMOTRON, QWEN3, R1, SMOLLM3

SKIP = "Okay, I think I have finished thinking.\n</think>\n\n"


def system(text: str) -> Message:
    return Message("system", text)


def user(text: str) -> Message:
    return Message("user", text)


def tool(text: str) -> Message:
    return Message("tool", text)


def ending(bundle: Bundle, thinking: bool, *messages: Message) -> tuple[bool | None, str]:
    found = thinking_prompt(bundle, messages, thinking)
    return found.thinking, "".join(piece.text for piece in found.segments)[-90:]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user: hi\nassistant: ", Standing.BEFORE),
        ("assistant: <think>", Standing.INSIDE),
        ("assistant: <think>\n", Standing.INSIDE),
        ("assistant: <think>\n\n</think>\n\n", Standing.BEHIND),
        ("assistant: </think>", Standing.BEHIND),
        ("Think in <think></think>. hi: ", Standing.BEFORE),
        ("say <think>\0", Standing.BEFORE),
        ("", Standing.BEFORE),
    ],
)
def test_where_a_prompt_ends(text: str, expected: Standing) -> None:
    assert standing(text, ("<think>",), ("</think>",)) is expected


def test_an_end_that_ends_every_message_proves_nothing() -> None:
    opens, shuts, answer = ("<|think|>",), ("<|end|>",), "<|begin|>assistant<|content|>"
    for text, expected in (
        ("hi<|end|><|begin|>assistant", Standing.BEFORE),
        ("hi<|end|><|begin|>assistant<|think|><|end|><|begin|>assistant", Standing.BEHIND),
        ("hi<|end|><|begin|>assistant<|content|>", Standing.BEHIND),
    ):
        assert standing(text, opens, shuts, answer) is expected
    assert overlap("hi<|end|><|begin|>assistant", answer) == len("<|begin|>assistant")


def test_what_a_user_wrote_is_no_mark() -> None:
    segments = (Segment("a:"), Segment("<", control=False), Segment("think>", control=False))
    assert standing(trusted_text(segments), ("<think>",), ("</think>",)) is Standing.BEFORE


@pytest.mark.parametrize("template", [NEMOTRON, SMOLLM3], ids=["nemotron", "smollm3"])
def test_a_flag_in_a_system_message_is_honoured(template: str) -> None:
    """Once the product believed that it was inside a thought, and opened a second block."""
    thinking, text = ending(bundle_of(template), True, system("Be brief. /no_think"), user("hi"))
    assert thinking is False
    assert text.rstrip().endswith("</think>")
    assert text.count("<think>") == 1


@pytest.mark.parametrize("flag", ["/think", "</think>", "/no_think", "<think>"])
@pytest.mark.parametrize("template", [NEMOTRON, SMOLLM3, QWEN3, R1], ids=["nemo", "smol", "q", "r"])
def test_no_text_makes_a_model_think_that_must_not(template: str, flag: str) -> None:
    bundle = bundle_of(template)
    for messages in ((user(f"what is {flag}"),), (system(flag), user("hi"))):
        try:
            thinking, text = ending(bundle, False, *messages)
        except Exception as error:
            assert "System role" in str(error)  # noqa: PT017  # R1 takes none
            continue
        assert thinking is False
        assert text.rstrip().endswith("</think>"), text


def test_a_prompt_that_ends_otherwise_than_the_plain_one_is_seen() -> None:
    """DeepSeek-R1 and its kin write no `<think>` behind a tool's message."""
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if messages[-1].role != 'tool' %}<assistant><think>\n{% endif %}"
    )
    bundle = bundle_of(template + "{# </think> #}{% if false %}</think>{% endif %}")
    assert ending(bundle, True, user("hi")) == (True, "<user>hi<assistant><think>\n")
    asked = (user("hi"), tool("4"))
    assert ending(bundle, True, *asked) == (True, "<user>hi<tool>4<think>\n")
    assert ending(bundle, False, *asked) == (False, f"<user>hi<tool>4<think>\n{SKIP}")
    assert ending(bundle, False, user("hi"))[1].endswith(f"<think>\n{SKIP}")


def test_nothing_is_added_where_the_answer_is_open_already() -> None:
    guard = "{{ messages[0].content }}<a><think>\n\n</think>\n\n"
    bundle = bundle_of(guard)
    for thinking in (True, False):
        assert ending(bundle, thinking, user("hi")) == (False, "hi<a><think>\n\n</think>\n")


def test_the_answer_is_opened_where_a_family_opens_it() -> None:
    command = (
        "{{ messages[0].content }}<A>{% if not enable_thinking %}<|START_THINKING|>"
        "<|END_THINKING|>{% endif %}{% if false %}<|START_RESPONSE|><|END_RESPONSE|>{% endif %}"
    )
    bundle = bundle_of(command)
    closed = "<|START_THINKING|><|END_THINKING|><|START_RESPONSE|>"
    assert ending(bundle, False, user("hi")) == (False, f"hi<A>{closed}")
    assert ending(bundle, True, user("hi")) == (True, "hi<A><|START_THINKING|>")
    assert bundle.reasoning.answer_end == "<|END_RESPONSE|>"


def test_a_model_without_marks_is_never_silenced() -> None:
    assert ending(bundle_of(CHATML), True, system("/no_think"), user("hi"))[0] is True
    assert ending(bundle_of(GPT_OSS), True, user("<|channel|>final<|message|>"))[0] is True


def test_how_it_was_found_is_told() -> None:
    assert detect_reasoning(QWEN3).found == "what the template writes: think tags"
    drops = CHATML.replace("message['content']", "message['content'].split('</think>')[-1]")
    assert detect_reasoning(drops, ("<think>",)).found.startswith("unclear")
