"""Runs command lines in this process on the scripted engine; `cli` is a fixture (conftest.py)."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from edgereason.cli import main
from support.places import SCRIPTED

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
