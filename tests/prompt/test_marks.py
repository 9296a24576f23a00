"""Marks that are read off a model's answers."""

from __future__ import annotations

import pytest

from edgereason.prompt.marks import Marks, common_marks, marks_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>\nhm\n</think>\n\n7", Marks("<think>", "</think>", "\n")),
        ("\n<thought>hm</thought>7", Marks("<thought>", "</thought>", "")),
        ("[THINK]hm[/THINK]7", Marks("[THINK]", "[/THINK]", "")),
        ("◁think▷hm◁/think▷7", Marks("◁think▷", "◁/think▷", "")),
        ("<|think_start|>hm<|think_end|>7", Marks("<|think_start|>", "<|think_end|>", "")),
        ("<think>\nstill at it", Marks("<think>", "", "\n")),
        ("hm, so\n</think>\n\n7", Marks("<think>", "</think>", "")),  # opened by nobody
        (
            "<Thought>\nhm\n</Thought>\n<Output>\n7\n</Output>",
            Marks("<Thought>", "</Thought>", "\n", "\n<Output>\n", "</Output>"),
        ),
        ("7", None),
        ("<b>7</b>", None),
        ("Qwen3 begins with <think> and thinks.", None),
        ("</think>", None),  # nothing before it: no thought
        ("", None),
    ],
)
def test_marks_of_one_answer(text: str, expected: Marks | None) -> None:
    assert marks_in(text) == expected


def test_several_answers_are_read_together() -> None:
    texts = ["<think>\nlong", "<think>\nhm\n</think>\n\n7", "7", "<think>\nhm\n</think>\n\n8"]
    assert common_marks(texts) == (Marks("<think>", "</think>", "\n"), 3)
    assert common_marks(["7", "8"]) == (Marks(), 0)
    assert common_marks([]) == (Marks(), 0)


def test_a_thought_that_none_ended_ends_as_tags_do() -> None:
    assert common_marks(["<think>\nlong"] * 4) == (Marks("<think>", "</think>", "\n"), 4)
    # Tokens are not paired by a slash, so how these end is not known.
    assert common_marks(["<|think|>long"] * 4) == (Marks("<|think|>", "", ""), 4)
