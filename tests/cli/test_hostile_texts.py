"""What a model says of itself cannot drive the terminal, break a line, or end a command."""

from __future__ import annotations

import ast
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from edgereason.cli import main
from edgereason.cli._screen import json_object
from edgereason.models import hub
from edgereason.models.bundle import open_bundle, write_bundle
from support.cli_runner import Cli
from support.gguf_files import write_gguf
from support.places import ROOT

EVIL = "a\x1b]0;owned\x07\x1b[2J\x9b31m\rb\u202ec\x00\nname  fake"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "EMBEDDED", tmp_path / "none")
    return tmp_path / "models"


def add(cache: Path, folder: str, text: str) -> Path:
    made = cache / folder
    made.mkdir(parents=True)
    write_gguf(made / "model.gguf")
    bundle = open_bundle(made / "model.gguf")
    told = {"base_model": text, "licence": text, "quantization": text, "architecture": text}
    write_bundle(replace(bundle, name=text, **told), made)
    return made


def shown(text: str) -> set[str]:
    return {char for char in text if not char.isprintable() and char != "\n"}


def test_no_control_character_of_a_model_is_shown(cache: Path, cli: Cli) -> None:
    made = add(cache, "evil", EVIL)
    (made / "bad\x1b[31m.gguf").write_bytes(b"")
    lines = {
        "list": ["list"],
        "show": ["show", str(made)],
        "an error": ["show", str(made / "bad\x1b[31m.gguf")],
        "a wrong name": ["show", EVIL.replace("\x00", "")],
        "a traceback": ["show", str(made / "bad\x1b[31m.gguf"), "--debug"],
        "inspect": ["export", "inspect", str(made)],
        "json": ["show", str(made), "--json"],
        "a plan": ["export", str(made), "--dry-run"],
    }
    for name, line in lines.items():
        ran = cli(*line)
        assert not shown(ran.out + ran.err), (name, ran.out, ran.err)
    assert json.loads(cli("show", str(made), "--json").out)["licence"] == EVIL
    assert not [row for row in cli("show", str(made)).out.splitlines() if row.endswith("fake ")]
    assert "fake" not in [row.split()[-1] for row in cli("list").out.splitlines()][:1]


@pytest.mark.parametrize("licence", ["[/x]", "[red]", ":smile:", "[link=http://x]a"])
def test_a_licence_hides_no_model(licence: str, cache: Path, cli: Cli) -> None:
    add(cache, "one", licence)
    ran = cli("list")
    assert (ran.code, ran.err) == (0, "")
    assert licence in ran.out
    assert "smollm2-135m" in ran.out


def test_two_interrupts_are_one_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = json_object.say

    def interrupted(data: dict[str, object]) -> None:
        said(data)
        signal.raise_signal(signal.SIGINT)  # the second, while the first one's answer is printed

    monkeypatch.setattr(json_object, "say", interrupted)
    assert main(["list", "--json"]) == 130
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    assert "models" in json.loads(out)


def test_the_commands_print_in_these_ways_only() -> None:
    """A bare `print` would let a text through as it is."""
    allowed = {"_screen.py", "_main.py", "chat.py", "man.py"}  # the ways, help, empty lines, a page
    found = {
        path.name
        for path in (ROOT / "edgereason" / "cli").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    }
    assert found == allowed
