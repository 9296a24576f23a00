"""The examples run as they are printed, on the scripted engine."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from edgereason.engines import scripted
from edgereason.models.bundle import open_bundle, verify
from support.places import ROOT

EXAMPLES = ROOT / "examples"
SCRIPTED = EXAMPLES / "scripted"


def run(name: str) -> str:
    """What the example prints, run as its docstring says."""
    environment = {key: value for key, value in os.environ.items() if "EDGEREASON" not in key}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_example_has_a_test() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {"ask", "robot_loop", "many_async", "nano_family"}


def test_the_scripted_bundle_is_whole() -> None:
    verify(open_bundle(SCRIPTED))


def test_ask_is_cut_by_a_small_budget() -> None:
    lines = run("ask").splitlines()
    assert lines[0] == "budget 4: Not sure yet."
    assert lines[1].strip() == "thought 4 tokens, ended by budget"
    assert lines[3] == "budget 128: 51"
    assert lines[4].strip() == "thought 30 tokens, ended by stop"
    assert lines[5].strip().endswith("of 5000 ms, late 0 ms")


def test_many_async_answers_all() -> None:
    lines = run("many_async").splitlines()
    assert len(lines) == 6
    for line in lines:
        assert re.fullmatch(r"question \d: 51  \(27 pieces of reasoning, \d+ ms\)", line)


def test_robot_loop_gets_advice_on_every_scene() -> None:
    out = run("robot_loop")
    assert out.count("'turn left' after") == 2
    assert out.count("'turn right' after") == 1
    behind = re.search(r"20 ticks, behind by (\d+) ms", out)
    assert behind is not None
    assert int(behind[1]) < 100  # less than one tick


def test_robot_loop_drops_stale_questions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a slow engine a scene changes before its answer is there; the loop keeps its pace."""
    open_fast = scripted.open

    def open_slow(bundle: Any, config: scripted.Config) -> Any:
        return open_fast(bundle, replace(config, sleep_ms=50))

    monkeypatch.setattr(scripted, "open", open_slow)
    robot = runpy.run_path(str(EXAMPLES / "robot_loop.py"))
    robot["main"].__globals__.update(DEADLINE_MS=60_000)
    robot["main"](str(SCRIPTED))
    out = capsys.readouterr().out
    assert out.count("stale, cancelled") == 2
    assert out.count("asked: ") == 3
    assert "after" not in out


def test_the_nano_family_answers_side_by_side() -> None:
    lines = run("nano_family").splitlines()
    answers = {line.split("nano: ")[1].split("  ")[0]: line for line in lines if "nano: " in line}
    assert set(answers) >= {"no-think", "think 16", "auto-think", "think + prefix"}
    for way in ("auto-think", "think + prefix"):
        answer, right = re.findall(r"  (\S+)(?=  )", answers[way].split(way)[1])[:2]
        assert answer == right
    latent = next(line for line in lines if "nano-coconut: coconut" in line)
    assert latent.split()[-3] == "6"  # latents, then KV and milliseconds
