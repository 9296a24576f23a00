"""`edgereason chat`: the conversation and its KV."""

from __future__ import annotations

from support.cli_runner import QUESTION, THOUGHT, Cli


def test_chat_keeps_the_conversation_and_its_kv(cli: Cli) -> None:
    lines = (
        f"{QUESTION}\n/think off\n{QUESTION}\n/nonsense\n/think\n/reset\n/think on\n{QUESTION}\n"
    )
    ran = cli("chat", "--strategy", "think", stdin=lines)
    assert ran.code == 0
    assert ran.out == "51\nNot sure yet.\n51\n"
    notes = [line for line in ran.err.splitlines() if line != THOUGHT]
    assert notes[0].startswith("think: thought 30 tokens")
    assert notes[1] == "thinking is off"
    assert "no thinking" in notes[2]
    assert "prompt tokens cached" in notes[2]
    assert notes[3].startswith("/think on|off")
    assert notes[4] == "thinking is off; /think on|off"
    assert notes[5] == "thinking is on"


def test_chat_ends_at_exit_and_goes_on_after_a_turn_that_does_not_fit(cli: Cli) -> None:
    lines = f"{'word ' * 5000}\n\n{QUESTION}\n/exit\n{QUESTION}\n"
    ran = cli("chat", "--strategy", "think", stdin=lines)
    assert ran.code == 0
    assert ran.out == "51\n"
    assert ran.err.startswith("error: ")
    assert "the context holds 4096" in ran.err


def test_a_trace_on_a_full_disk_is_told_and_ends_the_chat(cli: Cli) -> None:
    ran = cli("chat", "--trace", "/dev/full", stdin=f"{QUESTION}\n{QUESTION}\n")
    assert ran.code == 4
    assert ran.err == "error: cannot write the trace: No space left on device (make room)\n"
