"""Mistakes on the command line: each is one line, or one object under --json, and an exit code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgereason import errors
from edgereason.cli._asking import parse_messages
from edgereason.engines import scripted
from support import gguf_files
from support.cli_runner import QUESTION, Cli

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
    (("run", "hi", "--samples", "0"), 2, "samples must be in [1, 256], got 0", ""),
    (("run", "hi", "--samples", "2", "--strategy", "think"), 2, "option of think 'samples'", ""),
    (("run", "hi", "--samples", "2", "--set", "samples=3"), 2, "samples is given twice", ""),
    (("run", "hi", "--kv", "f16"), 2, "unknown option of engine scripted 'kv'", ""),
    (("run", "hi", "--engine-set", "batches=2"), 2, "engine scripted 'batches'", "mean 'batch'?"),
    (("run", "hi", "--engine-set", "batch=0"), 2, "batch must be in [1, 65536], got 0", ""),
    (("run", "hi", "--engine-set", "kv=f16"), 2, "--engine-set kv=... is not needed", "--kv"),
    (("run", "hi", "--engine-set", "park_tokens=1"), 2, "not an option of an engine", "open"),
    (("run", "word " * 5000), 2, "the context holds 4096", "shorten the prompt"),
    (("run", ""), 2, "the prompt is empty", "edgereason run"),
    (("run",), 2, "the prompt is empty", "edgereason run"),
    (("run", "hi", "--stop", ""), 2, "--stop must not be empty", ""),
    (("run", "hi", "--stop", "\udcff"), 2, "--stop is not UTF-8", ""),
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
        (
            '[{"role": "user", "content": [{"type": "image_url"}]}]',
            "message 0.content[0] must be a part of type text, got",
        ),
        ('[{"role": "user", "contnt": "hi"}]', "did you mean 'content'?"),
        (
            '[{"role": "user", "content": "hi", "reasoning": "a", "reasoning_content": "b"}]',
            "message 0: reasoning and reasoning_content disagree",
        ),
        (
            '[{"role": "user", "content": "hi", "reasoning": ["a"], "reasoning_content": ["a"]}]',
            "message 0.reasoning must be text",
        ),
        (b'"\xff"', "stdin is not UTF-8"),
    ],
)
def test_messages_are_checked(cli: Cli, stdin: str | bytes, message: str) -> None:
    ran = cli("run", "--messages", "-", stdin=stdin)
    assert ran.code == 2
    assert message in ran.err


def test_content_may_be_parts_or_null() -> None:
    parts = '[{"type": "text", "text": "What is "}, {"type": "text", "text": "17 * 3?"}]'
    turns = parse_messages(
        f'[{{"role": "user", "content": {parts}}}, {{"role": "assistant", "content": null}}]'
    )
    assert [turn.content for turn in turns] == ["What is 17 * 3?", ""]


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
    open_whole = scripted.open

    def open_broken(bundle: Any, config: scripted.Config) -> Any:
        return open_whole(bundle, replace(config, fail_at_step=20))

    monkeypatch.setattr(scripted, "open", open_broken)
    ran = cli("run", QUESTION, "--strategy", "think", "--json")
    assert ran.code == 5
    assert ran.json["error"]["code"] == "engine"


def test_not_enough_memory(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_large(bundle: Any, config: scripted.Config) -> Any:
        raise errors.MemoryLimitError("the model needs 9 GiB, 2 GiB are free", "--context 1024")

    monkeypatch.setattr(scripted, "open", open_large)
    ran = cli("run", QUESTION)
    assert ran == (4, "", "error: the model needs 9 GiB, 2 GiB are free (--context 1024)\n")


def test_a_bug_is_one_line_and_a_traceback_only_with_debug(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("edgereason.models.hub.cached", broken)
    ran = cli("list")
    assert ran.code == 5
    assert ran.err == (
        "error: ZeroDivisionError: of all things (run it again with --debug to see where)\n"
    )
    ran = cli("list", "--debug")
    assert ran.err.startswith("Traceback")
    assert cli("list", "--json").json["error"]["code"] == "internal"


@pytest.mark.parametrize(("engine", "kind"), [("tensorrt", ".engine"), ("onnxruntime", ".onnx")])
def test_an_engine_for_another_kind_of_file(engine: str, kind: str, cli: Cli) -> None:
    ran = cli("run", "-m", "nano", "--engine", engine, QUESTION)
    assert (ran.code, ran.out) == (2, "")
    assert f"engine {engine} opens {kind} files, and nano holds model.gguf" in ran.err
    assert "edgereason export --to" in ran.err
