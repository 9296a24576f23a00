"""What a terminal and a pipe get."""

from __future__ import annotations

import io
import sys

import pytest

from edgereason.cli._screen import Screen
from edgereason.records import Answer, Channel, Chunk


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *chunks: Chunk) -> str:
    """What a stream that is stdout and stderr at once gets."""
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    screen = Screen(reasoning=True)
    for chunk in chunks:
        screen.show(chunk)
    screen.end(Answer("unused"))
    return stream.getvalue()


def test_a_terminal_gets_dim_reasoning_and_no_control_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    chunks = (
        Chunk(Channel.REASONING, "\n hm\n\n"),
        Chunk(Channel.ANSWER, "a\x1b[2J\n\n"),
        Chunk(Channel.ANSWER, "b\t\n"),
    )
    out = shown(Terminal(), monkeypatch, *chunks)
    assert out == "\x1b[2mhm\x1b[0m\na\ufffd[2J\n\nb\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(Terminal(), monkeypatch, *chunks) == "hm\na\ufffd[2J\n\nb\n"
    assert shown(io.StringIO(), monkeypatch, *chunks) == "hm\na\x1b[2J\n\nb\n"


def test_a_piped_answer_is_not_broken_by_a_block_in_its_middle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    screen = Screen(reasoning=True)
    for channel, text in ((Channel.ANSWER, "4"), (Channel.REASONING, "hm"), (Channel.ANSWER, "2")):
        screen.show(Chunk(channel, text))
    screen.end(Answer("42"))
    assert out.getvalue() == "42\n"
