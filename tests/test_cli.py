"""The command line on the scripted engine: what is printed where, how mistakes are answered."""

from __future__ import annotations

import inspect
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gguf_files
import pytest

from edgereason import effort, errors
from edgereason.cli import _main, main
from edgereason.cli._screen import Screen
from edgereason.config import env_name
from edgereason.records import Answer, Channel, Chunk

SCRIPTED = str(Path(__file__).parent.parent / "examples" / "scripted")
QUESTION = "What is 17 * 3?"
THOUGHT = (
    "Three times ten is thirty, and three times seven is twenty one. "
    "Thirty plus twenty one makes fifty one."
)


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout; nothing else is printed anywhere."""
        assert self.err == ""
        assert self.out.count("\n") == 1
        data: dict[str, Any] = json.loads(self.out)
        return data


Cli = Callable[..., Ran]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs a command line in this process; `stdin` is what is piped in, None a closed stdin."""
    monkeypatch.setenv("EDGEREASON_MODEL", SCRIPTED)

    def run(*args: str, stdin: str | bytes | None = "") -> Ran:
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        pipe = None if raw is None else io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", pipe)
        code = main(args)
        return Ran(code, *capsys.readouterr())

    return run


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
            "answer_tokens",
        },
        "budget": {"think_tokens", "deadline_ms"},
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
    assert [set(phase) for phase in answer["phases"]] == [{"name", "tokens", "reason", "ms"}] * 2
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
    import typer

    group: Any = typer.main.get_command(_main._app())
    seen = set()
    for command in group.commands.values():
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.opts != ["--help"]:
                long = next(name for name in parameter.opts if name.startswith("--"))
                assert parameter.envvar == env_name(long), (command.name, long)
                seen.add(long)
    assert {"--think-budget", "--deadline-ms", "--set", "--kv", "--json", "--debug"} <= seen


# --- what is wrong --------------------------------------------------------------------------------

MISTAKES = [
    (("run", "hi", "-m", "no-such"), 3, "no model called 'no-such'", "hf:owner"),
    (("run", "hi", "-m", "./none.gguf"), 3, "no such file: none.gguf", "edgereason list"),
    (("run", "hi", "--strategy", "thnk"), 2, "no strategy called 'thnk'", "did you mean 'think'?"),
    (("run", "hi", "--engine", "lama"), 2, "no engine called 'lama'", "did you mean 'llamacpp'?"),
    (("run", "hi", "--set", "draft_tokns=3"), 2, "unknown option", "did you mean 'draft_tokens'?"),
    (("run", "hi", "--set", "draft_tokens"), 2, "expected key=value, got 'draft_tokens'", ""),
    (("run", "hi", "--thnk-budget", "3"), 2, "no such option: --thnk-budget", "--think-budget?"),
    (("rnu", "hi"), 2, "no such command 'rnu'", ""),
    (("run", "hi", "there"), 2, "unexpected extra argument", "--help"),
    (("run", "hi", "--think-budget"), 2, "requires an argument", "--help"),
    (("run", "hi", "--think-budget", "x"), 2, "must be a whole number, got 'x'", ""),
    (("run", "hi", "--think-budget", "-5"), 2, "think budget must be -1 or more, got -5", "-1 is"),
    (("run", "hi", "--answer-budget", "0"), 2, "answer budget must be 1 or more, got 0", ""),
    (("run", "hi", "--deadline-ms", "0"), 2, "deadline must be more than 0 ms, got 0", "leave it"),
    (("run", "hi", "--deadline-ms", "nan"), 2, "deadline must be more than 0 ms, got nan", ""),
    (("run", "hi", "--effort", "hgh"), 2, "no effort called 'hgh'", "did you mean 'high'?"),
    (("run", "hi", "--effort", "low", "--think-budget", "9"), 2, "256 tokens", "one of them"),
    (("run", "hi", "--temperature", "-1"), 2, "temperature must be 0 or more", ""),
    (("run", "hi", "--seed", "-1"), 2, "seed must be in", ""),
    (("run", "hi", "--samples", "0"), 2, "samples must be 1 or more, got 0", ""),
    (("run", "hi", "--samples", "2", "--strategy", "think"), 2, "option of think 'samples'", ""),
    (("run", "hi", "--samples", "2", "--set", "samples=3"), 2, "samples is given twice", ""),
    (("run", "hi", "--kv", "f16"), 2, "unknown engine option 'kv'", ""),
    (("run", "word " * 5000), 2, "the context holds 4096", "shorten the prompt"),
    (("run", ""), 2, "the prompt is empty", "edgereason run"),
    (("run",), 2, "the prompt is empty", "edgereason run"),
    (("run", "hi\udcff"), 2, "the prompt is not UTF-8", ""),
    (("run", "hi", "--messages", "-"), 2, "both given", ""),
    (("run", "--messages", "none.json"), 2, "cannot read none.json: No such file", ""),
    (("show", "no-such"), 3, "no model called 'no-such'", ""),
    (("pull", "no-such"), 3, "no model called 'no-such'", ""),
]


@pytest.mark.parametrize(("args", "code", "message", "way_out"), MISTAKES)
def test_a_mistake_is_one_line_and_an_exit_code(
    cli: Cli, args: tuple[str, ...], code: int, message: str, way_out: str
) -> None:
    ran = cli(*args)
    assert ran.code == code
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert message in ran.err
    assert way_out in ran.err


@pytest.mark.parametrize(("args", "code", "message", "way_out"), MISTAKES)
def test_a_mistake_is_one_object_under_json(
    cli: Cli, args: tuple[str, ...], code: int, message: str, way_out: str
) -> None:
    ran = cli(args[0], "--json", *args[1:])
    assert ran.code == code
    (error,) = ran.json.values()
    assert set(error) == {"code", "message", "hint"}
    assert message in error["message"]
    assert way_out in error["message"] + error["hint"]


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        ("{", "the messages are not JSON"),
        ("[]", "the messages must be a JSON list"),
        ("{}", "the messages must be a JSON list"),
        ('["hi"]', 'message 0 must be an object, got "hi"'),
        ('[{"role": "user"}]', "content must be given"),
        ('[{"role": "user", "content": 3}]', "message 0.content must be text, got 3"),
        ('[{"role": "user", "contnt": "hi"}]', "did you mean 'content'?"),
        (b'"\xff"', "stdin is not UTF-8"),
    ],
)
def test_messages_are_checked(cli: Cli, stdin: str | bytes, message: str) -> None:
    ran = cli("run", "--messages", "-", stdin=stdin)
    assert ran.code == 2
    assert message in ran.err


def test_stdin_closed(cli: Cli) -> None:
    assert cli("run", QUESTION, "--strategy", "think", "--quiet", stdin=None).out == "51\n"
    for args in (("run",), ("run", "-"), ("run", "--messages", "-"), ("chat",)):
        ran = cli(*args, stdin=None)
        assert ran.code == 2
        assert "no prompt" in ran.err or "stdin is closed" in ran.err


def test_damaged_models(cli: Cli, tmp_path: Path) -> None:
    whole = gguf_files.gguf_bytes()
    damaged = {
        "truncated": whole[: len(whole) // 2],
        "magic": b"X" + whole[1:],
        "length": whole[:16] + bytes([whole[16] ^ 0x80]) + whole[17:],  # the number of keys
        "empty": b"",
    }
    for name, data in damaged.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(data)
        ran = cli("run", "hi", "-m", str(path))
        assert (ran.code, ran.out) == (3, ""), name
        assert ran.err.startswith("error: ")
        assert ran.err.count("\n") == 1


def test_an_engine_that_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from edgereason.engines import scripted

    open_whole = scripted.open

    def open_broken(bundle: Any, profile: Any, config: scripted.Config) -> Any:
        return open_whole(bundle, profile, replace(config, fail_at_step=20))

    monkeypatch.setattr(scripted, "open", open_broken)
    ran = cli("run", QUESTION, "--strategy", "think", "--json")
    assert ran.code == 5
    assert ran.json["error"]["code"] == "engine"


def test_not_enough_memory(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgereason.engines import scripted

    def open_large(bundle: Any, profile: Any, config: scripted.Config) -> Any:
        raise errors.MemoryLimitError("the model needs 9 GiB, 2 GiB are free", "--context 1024")

    monkeypatch.setattr(scripted, "open", open_large)
    ran = cli("run", QUESTION)
    assert ran == (4, "", "error: the model needs 9 GiB, 2 GiB are free (--context 1024)\n")


def test_a_bug_is_one_line_and_a_traceback_only_with_debug(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("edgereason.hub.cached", broken)
    ran = cli("list")
    assert ran.code == 5
    assert ran.err == (
        "error: ZeroDivisionError: of all things (run it again with --debug to see where)\n"
    )
    ran = cli("list", "--debug")
    assert ran.err.startswith("Traceback")
    assert cli("list", "--json").json["error"]["code"] == "internal"


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
    names = {"chat", "doctor", "list", "pull", "run", "show", "strategies"}
    for args in ((), ("--help",)):
        ran = cli(*args)
        assert ran.code == 0
        assert names <= set(ran.out.split())
    for name in names:
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
    (model,) = cli("list", "--json").json["models"]
    assert (model["name"], model["cached"]) == ("smollm2-135m", False)
    assert "Apache-2.0" in cli("list").out

    def pull(name: str, progress: Callable[[int, int], None]) -> Path:
        progress(1, 2)
        progress(2, 2)
        return Path(SCRIPTED)

    monkeypatch.setattr("edgereason.hub.pull", pull)
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
    assert set(models) == {"mine", "smollm2-135m"}
    assert "cannot read" in models["mine"]["error"]


def test_doctor_says_what_to_do(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    ran = cli("doctor")
    assert ran.code == 0
    assert all(line.startswith(("ok   ", "warn ")) for line in ran.out.splitlines())
    assert "warn models: none (edgereason pull smollm2-135m)" in ran.out
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
    import importlib

    from edgereason.registry import names

    for name in names("edgereason.cli"):
        module = importlib.import_module(f"edgereason.cli.{name}")
        assert inspect.isfunction(module.command)
        assert module.command.__doc__
