"""The command line as a process: Ctrl-C, closed pipes, terminals, start-up, and a real model."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.places import SCRIPTED

QUESTION = "What is 17 * 3?"
EDGEREASON = (sys.executable, "-m", "edgereason")

# The scripted engine at a token every 40 ms, so that there is a middle to interrupt.
SLOW = (
    sys.executable,
    "-c",
    """
import sys
from dataclasses import replace
from edgereason.cli import main
from edgereason.engines import scripted

fast = scripted.open

def slow(bundle, config):
    if "--json" in sys.argv:  # then nothing else tells that it has begun
        print("opening", file=sys.stderr, flush=True)
    return fast(bundle, replace(config, sleep_ms=40))

scripted.open = slow
sys.exit(main())
""",
)


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EDGEREASON_")}
    for name in ("EDGEREASON_CACHE", "EDGEREASON_TEST_MODEL"):
        if name in os.environ:
            kept[name] = os.environ[name]
    return {**kept, "EDGEREASON_MODEL": SCRIPTED, **more}


@contextmanager
def started(*command: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # type: ignore[call-overload]  # options are those of Popen
        command,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=options.pop("stderr", subprocess.PIPE),
        text=True,
        env=environment(),
        **options,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], text: str, *, stderr: bool) -> str:
    """What a stream says until `text` was there."""
    stream = process.stderr if stderr else process.stdout
    assert stream is not None
    seen = ""
    while text not in seen:
        char = stream.read(1)
        assert char, f"ended without {text!r}: {seen!r}"
        seen += char
    return seen


# --- Ctrl-C ---------------------------------------------------------------------------------------


def test_ctrl_c_while_thinking_keeps_what_there_is() -> None:
    with started(*SLOW, "run", QUESTION, "--strategy", "think") as process:
        seen = read_until(process, "three", stderr=True)
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=10)
    assert process.returncode == 130
    assert out == ""
    thought, summary = (seen + rest).splitlines()
    assert thought.startswith("Three times ten is thirty, and three")
    assert summary.startswith("think: cancelled, thought ")


def test_ctrl_c_while_answering_keeps_what_there_is() -> None:
    with started(*SLOW, "run", QUESTION, "--strategy", "no-think") as process:
        seen = read_until(process, "Not", stderr=False)
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=10)
    assert process.returncode == 130
    answer = seen + rest
    assert answer.endswith("\n")
    assert "Not sure yet.".startswith(answer.strip())
    assert err.startswith("no-think: cancelled, no thinking, answered ")


def test_ctrl_c_under_json_is_still_one_object() -> None:
    with started(*SLOW, "run", QUESTION, "--strategy", "think", "--json") as process:
        read_until(process, "opening\n", stderr=True)
        time.sleep(0.8)  # the thought begins at 0.3 s and ends at 1.5 s
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err == ""
    data = json.loads(out)
    assert data["finish"] == "cancelled"
    assert data["reasoning"].startswith("Three")


def test_ctrl_c_in_chat_ends_the_answer_and_not_the_chat() -> None:
    with started(*SLOW, "chat", "--strategy", "think", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(f"{QUESTION}\n")
        process.stdin.flush()
        read_until(process, "three", stderr=True)
        process.send_signal(signal.SIGINT)
        cancelled = read_until(process, "\n", stderr=True) + read_until(process, "\n", stderr=True)
        out, err = process.communicate(f"{QUESTION}\n", timeout=30)
    assert process.returncode == 0
    assert "think: cancelled" in cancelled
    assert out == "51\n"
    assert "think: thought 30 tokens (ended by stop)" in err


def in_terminal(*command: str, interrupt_after: str, **more: str) -> tuple[int, str]:
    """Runs in a terminal, interrupts once a text is there: exit code, and all that was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color", **more),
        start_new_session=True,
    )
    os.close(theirs)
    seen = ""
    try:
        while data := os.read(ours, 1024):
            before, seen = seen, seen + data.decode()
            if interrupt_after in seen and interrupt_after not in before:
                process.send_signal(signal.SIGINT)
    except OSError:  # so Linux tells that the other side is closed
        pass
    finally:
        os.close(ours)
        code = process.wait(timeout=10)
    return code, seen.replace("\r\n", "\n")


def test_ctrl_c_leaves_the_terminal_clean() -> None:
    command = (*SLOW, "run", QUESTION, "--strategy", "think")
    code, seen = in_terminal(*command, interrupt_after="three")
    assert code == 130
    # Dim on and off is all there is: no cursor was hidden or moved, no screen switched.
    codes = re.findall(r"\x1b\[[0-9;?]*[A-Za-z]", seen)
    assert set(codes) == {"\x1b[2m", "\x1b[0m"}
    assert codes[-1] == "\x1b[0m"
    assert seen.endswith("tok/s\n")


def test_no_color_is_respected() -> None:
    command = (*SLOW, "run", QUESTION, "--strategy", "think")
    code, seen = in_terminal(*command, interrupt_after="three", NO_COLOR="1")
    assert code == 130
    assert "\x1b" not in seen


# --- pipes ----------------------------------------------------------------------------------------


def test_a_reader_that_goes_away_ends_it_silently() -> None:
    with started(*SLOW, "run", QUESTION, "--strategy", "no-think", "--quiet") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=20)
    assert process.returncode == 141
    assert err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("redirection", [">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("option", ["--json", "--strategy=think"])
def test_a_full_disk_is_no_traceback(option: str, redirection: str) -> None:
    line = f'exec "$@" {redirection}'
    with started("sh", "-c", line, "sh", *EDGEREASON, "run", QUESTION, option) as process:
        out, err = process.communicate(timeout=20)
    if option == "--json" and redirection == "2>/dev/full":  # nothing goes to stderr
        assert (process.returncode, json.loads(out)["answer"]) == (0, "51")
        return
    assert (process.returncode, out) == (5, "")
    assert "Traceback" not in err
    if "2>" not in redirection:
        assert err.splitlines()[-1].startswith("error: ")
        assert "No space left" in err.splitlines()[-1]


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_bug(redirection: str) -> None:
    line = f'exec "$@" {redirection}'
    command = ("sh", "-c", line, "sh", *EDGEREASON, "run", QUESTION, "--strategy", "think")
    with started(*command) as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == ("" if ">&-" in redirection.replace("2>&-", "") else "51\n")
    assert "Traceback" not in err
    assert "Exception" not in err


def test_stdin_closed_without_a_prompt() -> None:
    command = ("sh", "-c", 'exec "$@" <&-', "sh", *EDGEREASON, "run")
    with started(*command) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "")
    assert err == 'error: no prompt (edgereason run "your question", or pipe it in)\n'


# --- start-up -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["import edgereason.cli", "from edgereason.cli import main; main([])"]
)
def test_the_command_line_is_light_until_a_model_is_opened(line: str) -> None:
    ours = ("edgereason._core", "edgereason.runtime.reasoner")
    heavy = (*ours, "llama_cpp", "numpy", "jinja2", "rich")
    program = f"{line}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    with started(sys.executable, "-c", program) as process:
        out, _ = process.communicate(timeout=20)
    assert out.splitlines()[-1] == "[]"


# --- a real model ---------------------------------------------------------------------------------


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*EDGEREASON, *args),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=100,
        check=False,
    )


@pytest.mark.model
def test_a_model_answers_within_its_budget(smollm2: Path) -> None:
    done = run(
        "run", QUESTION, "-m", str(smollm2), "--strategy", "think", "--think-budget", "5", "--json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["answer"]
    assert answer["budget"]["think_tokens"]["used"] <= 5
    assert answer["usage"]["answer_tokens"] > 0


@pytest.mark.model
def test_a_model_reuses_the_kv_of_a_conversation(smollm2: Path) -> None:
    command = (*EDGEREASON, "chat", "-m", str(smollm2), "--strategy", "no-think")
    with started(*command, "--answer-budget", "8", stdin=subprocess.PIPE) as process:
        _, err = process.communicate("Name a colour.\nAnother one.\n", timeout=60)
    first, second = (line for line in err.splitlines() if line.startswith("no-think: "))
    assert "cached" not in first
    cached, prompt = map(int, re.findall(r"(\d+) of (\d+) prompt tokens cached", second)[0])
    assert prompt / 2 < cached < prompt


@pytest.mark.model
def test_what_can_be_wrong_with_a_model(smollm2: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.gguf"
    with smollm2.open("rb") as source:
        truncated.write_bytes(source.read(5 << 20))
    flipped = tmp_path / "flipped.gguf"
    data = bytearray(smollm2.read_bytes())
    data[16] ^= 0x80  # the number of metadata keys
    flipped.write_bytes(data)
    cases = [
        ((str(truncated),), 3, "truncated"),
        ((str(flipped),), 3, "flipped"),
        ((str(smollm2), "--context", "50000000"), 4, "GiB"),
        ((str(smollm2), "--kv", "q4"), 2, "kv must be one of f16, q8_0, got 'q4'"),
        ((str(smollm2), "--context", "256", "--system", "word " * 400), 2, "the context holds 256"),
    ]
    for args, code, message in cases:
        done = run("run", "hi", "-m", *args)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
