"""`edgereason run` on the scripted engine: what is printed where, and what is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cli_runner import QUESTION, THOUGHT, Cli


def test_answer_on_stdout_reasoning_on_stderr_then_a_line_of_what_happened(cli: Cli) -> None:
    ran = cli("run", QUESTION, "--strategy", "think", "--deadline-ms", "60000")
    assert ran.code == 0
    assert ran.out == "51\n"
    thought, summary = ran.err.splitlines()
    assert thought == THOUGHT
    assert summary.startswith("think: thought 30 tokens (ended by stop), answered 4 tokens, ")
    assert summary.endswith(" tok/s, in time for 60000 ms")


def test_quiet_prints_the_answer_and_nothing_else(cli: Cli) -> None:
    assert cli("run", QUESTION, "--strategy", "think", "--quiet") == (0, "51\n", "")


def test_json_has_the_documented_fields(cli: Cli) -> None:
    answer = cli("run", QUESTION, "--strategy", "think", "--think-budget", "9", "--json").json
    assert {key: set(value) for key, value in answer.items() if isinstance(value, dict)} == {
        "usage": {
            "prompt_tokens",
            "cached_tokens",
            "reasoning_tokens",
            "latent_tokens",
            "peak_cells",
            "answer_tokens",
        },
        "budget": {"think_tokens", "deadline_ms", "answer_tokens"},
        "timings": {
            "queue_ms",
            "prefill_ms",
            "think_ms",
            "answer_ms",
            "total_ms",
            "tokens_per_s",
        },
    }
    assert answer["answer"] == "Not sure yet."
    assert answer["reasoning"] == "Three times ten is thir"
    assert answer["finish"] == "budget"
    assert answer["strategy"] == "think"
    assert answer["model"] == "scripted"
    assert answer["budget"]["think_tokens"] == {
        "asked": 9,
        "effective": 9,
        "used": 9,
        "ended_by": "budget",
    }
    assert set(answer["budget"]["deadline_ms"]) == {"asked", "used", "late_ms", "share"}
    assert answer["budget"]["answer_tokens"] == {
        "asked": 256,
        "effective": 256,
        "used": 13,
        "ended_by": "stop",
    }
    assert [list(phase) for phase in answer["phases"]] == [
        ["name", "tokens", "reason", "ms", "role"]
    ] * 2
    assert [phase["role"] for phase in answer["phases"]] == ["think", "answer"]
    assert answer["candidates"] == []


def test_a_budget_of_0_does_not_think(cli: Cli) -> None:
    ran = cli("run", QUESTION, "--strategy", "think", "--think-budget", "0")
    assert ran.out == "Not sure yet.\n"
    assert "think: no thinking, answered 13 tokens" in ran.err


@pytest.mark.parametrize("name", ["budget-forcing", "budget_forcing"])
def test_strategy_names_take_both_dashes(cli: Cli, name: str) -> None:
    assert cli("run", QUESTION, "--strategy", name, "--set", "waits=0", "--quiet").out == "51\n"


def test_samples_imply_vote(cli: Cli) -> None:
    answer = cli("run", QUESTION, "--samples", "3", "--json").json
    assert answer["strategy"] == "vote"
    assert answer["candidates"] == [{"answer": "51", "votes": 2, "confidence": 1.0}]


def test_the_winner_of_a_vote_and_a_kept_draft_are_printed_once(cli: Cli) -> None:
    assert cli("run", QUESTION, "--samples", "3").out == "51\n"
    draft = ("--strategy", "auto", "--set", "threshold=0")
    slow = ("--engine-set", "sleep_ms=2")  # else the thought beside it may answer first
    assert cli("run", QUESTION, *draft, *slow).out == "Not sure yet.\n"


def test_a_draft_that_is_not_kept_is_not_printed(cli: Cli) -> None:
    ran = cli("run", QUESTION, "--strategy", "auto", "--set", "threshold=1")
    assert ran.out == "51\n"


@pytest.mark.parametrize("args", [(), ("-",)])
def test_the_prompt_comes_from_stdin(cli: Cli, args: tuple[str, ...]) -> None:
    ran = cli("run", *args, "--strategy", "think", "--quiet", stdin=f"{QUESTION}\n")
    assert ran.out == "51\n"


def test_messages_come_from_a_file_or_stdin(cli: Cli, tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello", "reasoning_content": "A greeting."},
        {"role": "user", "content": QUESTION},
    ]
    (tmp_path / "turns.json").write_text(json.dumps(turns))
    options = ("--strategy", "think", "--quiet", "--system", "Be brief.")
    assert cli("run", "--messages", str(tmp_path / "turns.json"), *options).out == "51\n"
    assert cli("run", "--messages", "-", *options, stdin=json.dumps(turns)).out == "51\n"


def test_an_effort_is_a_budget_and_a_typed_budget_beats_one_from_the_environment(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*args: str) -> int:
        report = cli("run", QUESTION, "--strategy", "think", "--json", *args).json["budget"]
        tokens: int = report["think_tokens"]["asked"]
        return tokens

    shown = cli("show", "--json").json["effort_tokens"]
    assert asked("--effort", "low") == shown["low"] == 4096 // 16
    assert asked("--effort", "low", "--think-budget", str(shown["low"])) == shown["low"]
    assert asked("--effort", "low", "--strategy", "infty-think") == 512  # whatever the context
    assert asked("--effort", "low", "--strategy", "vote", "--set", "of=infty_think") == 512
    monkeypatch.setenv("EDGEREASON_EFFORT", "high")
    assert asked() == shown["high"]
    assert asked("--think-budget", "7") == 7
    monkeypatch.setenv("EDGEREASON_THINK_BUDGET", "5")
    assert asked("--effort", "low") == shown["low"]
    assert cli("run", QUESTION).code == 2  # both from the environment, and they disagree


def test_flags_have_environment_twins(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEREASON_STRATEGY", "think")
    monkeypatch.setenv("EDGEREASON_THINK_BUDGET", "3")
    monkeypatch.setenv("EDGEREASON_JSON", "1")
    assert cli("run", QUESTION).json["usage"]["reasoning_tokens"] == 3
    monkeypatch.setenv("EDGEREASON_THINK_BUDGET", "many")
    assert "must be a whole number, got 'many'" in cli("run", QUESTION).json["error"]["message"]
