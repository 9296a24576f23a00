"""The command line on the scripted engine: what is printed where."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from edgereason.cli import _main
from edgereason.cli._screen import Screen
from edgereason.config import env_name
from edgereason.planning import effort
from edgereason.records import Answer, Channel, Chunk
from edgereason.registry import names
from support import gguf_files
from support.cli_runner import QUESTION, THOUGHT, Cli
from support.places import SCRIPTED

# --- run ------------------------------------------------------------------------------------------


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
    assert set(answer["budget"]["deadline_ms"]) == {"asked", "used", "late_ms"}
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
    assert (
        cli("run", QUESTION, "--strategy", "auto", "--set", "threshold=0").out == "Not sure yet.\n"
    )


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


def test_every_option_of_every_command_has_its_twin() -> None:
    group: Any = typer.main.get_command(_main._app())
    seen = set()
    for command in group.commands.values():
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.opts != ["--help"]:
                long = next(name for name in parameter.opts if name.startswith("--"))
                assert parameter.envvar == env_name(long), (command.name, long)
                seen.add(long)
    assert {"--think-budget", "--deadline-ms", "--set", "--kv", "--json", "--debug"} <= seen


# --- chat -----------------------------------------------------------------------------------------


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


# --- the other commands ---------------------------------------------------------------------------


def test_help_names_every_command(cli: Cli) -> None:
    commands = {"chat", "doctor", "list", "pull", "run", "show", "strategies"}
    for args in ((), ("--help",)):
        ran = cli(*args)
        assert ran.code == 0
        assert commands <= set(ran.out.split())
    for name in commands:
        ran = cli(name, "--help")
        assert ran.code == 0
        assert "--debug" in ran.out
    assert cli("--version").out.startswith("edgereason 0.")


def test_strategies_come_from_their_files(cli: Cli) -> None:
    ran = cli("strategies")
    assert "budget-forcing: Budget forcing (s1)" in ran.out
    assert "    --set samples=8  chains of thought (int)\n" in ran.out
    found = {item["name"]: item for item in cli("strategies", "--json").json["strategies"]}
    assert found["vote"]["needs"] == ["logits", "fork"]
    assert found["think"]["options"] == []


def test_show_prints_what_is_known(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf_files.gguf_bytes())
    rows = dict(line.split("  ", 1) for line in cli("show", str(path)).out.splitlines())
    assert rows["name"].strip() == "tiny"
    assert rows["context"].strip() == "512 tokens"
    assert rows["chat template"].strip() == "ChatML"
    assert rows["reasoning"].strip().startswith("cue")
    data = cli("show", str(path), "--json").json
    assert data["effort_tokens"] == effort.table(512)
    assert data["template_family"] == "ChatML"
    assert cli("show", str(path), "--verify").code == 3  # a bare file has no recorded sha256
    assert "verified" in cli("show", SCRIPTED, "--verify").out


def test_list_and_pull(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    models = {model["name"]: model for model in cli("list", "--json").json["models"]}
    assert models["smollm2-135m"]["cached"] is False
    assert models["nano"]["cached"] is True  # it comes with the package
    assert "Apache-2.0" in cli("list").out

    def pull(name: str, progress: Callable[[int, int], None]) -> Path:
        progress(1, 2)
        progress(2, 2)
        return Path(SCRIPTED)

    monkeypatch.setattr("edgereason.models.hub.pull", pull)
    assert cli("pull", "smollm2-135m").out == f"scripted: 0.0 MiB, Apache-2.0, in {SCRIPTED}\n"
    assert cli("pull", "smollm2-135m", "--json").json["path"] == SCRIPTED


def test_list_shows_a_damaged_model_and_the_others(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "edgereason.json").write_text("{")
    models = {model["name"]: model for model in cli("list", "--json").json["models"]}
    assert set(models) >= {"mine", "smollm2-135m", "nano"}
    assert "cannot read" in models["mine"]["error"]


def test_doctor_says_what_to_do(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    ran = cli("doctor")
    assert ran.code == 0
    assert all(line.startswith(("ok   ", "warn ")) for line in ran.out.splitlines())
    assert "ok   models: nano" in ran.out
    assert "is not here (edgereason pull smollm2-135m)" in ran.out
    checks = {check["name"]: check for check in cli("doctor", "--json").json["checks"]}
    assert checks["native core"] == {"name": "native core", "value": "loads", "way_out": ""}


# --- the screen -----------------------------------------------------------------------------------


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


def test_functions_named_command_are_all_there_is_to_a_command() -> None:
    found = (name.replace("-", "_") for name in names("edgereason.cli"))
    flat = [f"edgereason.cli.{name}" for name in found if name != "export"]
    grouped = [f"edgereason.cli.export.{name}" for name in names("edgereason.cli.export")]
    for path in flat + grouped:
        module = importlib.import_module(path)
        assert inspect.isfunction(module.command)
        assert module.command.__doc__
