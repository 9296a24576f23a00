"""`edgereason serve`: what it refuses, and how it starts and ends."""

from __future__ import annotations

import importlib
import signal
import socket
import subprocess
import sys
from typing import Any

import httpx
import pytest

from support.cli_runner import Cli
from support.places import SCRIPTED
from support.replies import asked

pytest.importorskip("uvicorn")


def test_nothing_listens_beyond_this_machine_without_a_key(cli: Cli) -> None:
    ran = cli("serve", SCRIPTED, "--host", "0.0.0.0")
    assert ran.code == 2
    assert ran.err == (
        "error: --host 0.0.0.0 lets other machines in, and there is no key "
        "(add --api-key KEY, or --insecure)\n"
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["no-such-model"], "no-such-model"),
        ([SCRIPTED, SCRIPTED], "two models are called 'scripted'"),
        ([SCRIPTED, "--port", "70000"], "port must be 65535 or less, got 70000"),
        ([SCRIPTED, "--max-requests", "0"], "max_requests must be 1 or more, got 0"),
        ([SCRIPTED, "--default-effort", "some"], "no effort called 'some'"),
        ([SCRIPTED, "--unknown-fields", "eat"], "must be list or reject, got 'eat'"),
        ([SCRIPTED, "--ping-s", "nan"], "ping_s must be 0 or more, got nan"),
    ],
)
def test_bad_options_are_named(cli: Cli, args: list[str], said: str) -> None:
    ran = cli("serve", *args)
    assert ran.code in (2, 3)
    assert said in ran.err


def test_a_missing_library_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.import_module

    def without(name: str, *args: Any) -> Any:
        if name == "starlette":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found(name, *args)

    monkeypatch.setattr("edgereason.cli.serve.importlib.import_module", without)
    ran = cli("serve", SCRIPTED)
    assert ran.code == 2
    assert "pip install 'edgereason[server]'" in ran.err


def test_a_port_that_is_taken(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "edgereason", "serve", SCRIPTED, "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"error: cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_comes(number: int) -> None:
    command = [sys.executable, "-m", "edgereason", "serve", f"me={SCRIPTED}", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            port = 0
            for line in process.stderr:
                if "running on" in line:
                    port = int(line.split("http://127.0.0.1:")[1].split()[0])
                    break
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            answer = httpx.post(url, json=asked(model="me"), timeout=30)
            assert answer.json()["choices"][0]["message"]["content"] == "51"
            process.send_signal(number)
            told = process.stderr.read()
            process.wait(30)
        finally:
            process.kill()
    assert process.returncode in (-number, 130)
    assert '"outcome": "answered"' in told
    assert "Traceback" not in told
