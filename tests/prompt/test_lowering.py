"""Texts become tokens: a blank that a vocabulary puts before each text stands at a start alone."""

from __future__ import annotations

import pytest

from edgereason.prompt.lowering import lower, prompt_tokens
from edgereason.records import Phase, Role, Segment


class Words:
    """A tokenizer of characters; with `blank` it puts one before each text, as SentencePiece."""

    most_bytes = 1 << 20
    bos = None
    add_bos = False

    def __init__(self, *, blank: bool) -> None:
        self.blank = blank

    def tokenize(self, text: str, *, parse_control: bool = False) -> list[int]:
        return [*([32] if self.blank and text else []), *map(ord, text)]


def text_of(tokens: tuple[int, ...]) -> str:
    return "".join(map(chr, tokens))


@pytest.mark.parametrize("blank", [True, False])
def test_what_is_forced_has_no_blank_before_it(blank: bool) -> None:
    phase = Phase("x", Role.ANSWER, force="<response>", close="</think>", score=("a", "b"))
    (lowered,) = lower(phase, Words(blank=blank))
    assert text_of(lowered.force) == "<response>"
    assert text_of(lowered.close) == "</think>"
    assert text_of(lowered.score) == "ab"


@pytest.mark.parametrize("blank", [True, False])
def test_a_prompt_has_one_at_its_start(blank: bool) -> None:
    segments = (Segment("say "), Segment("<", control=False), Segment("think>", control=False))
    expected = " say <think>" if blank else "say <think>"
    assert text_of(prompt_tokens(segments, Words(blank=blank))) == expected
