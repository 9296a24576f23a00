"""The tree of lines of thought, as text and as a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgereason.errors import UsageError
from edgereason.runtime.explain import as_page, as_text
from support.cli_runner import Cli
from support.places import SCRIPTED
from support.scripted_models import model


def test_every_line_is_told_with_its_parent() -> None:
    with model() as reasoner:
        answer = reasoner.ask(
            "Why?", strategy="vote", options={"samples": 2, "temperature": 1e-6}, explain=True
        )
        plain = reasoner.ask("Why?", strategy="think")
    assert [chain.parent for chain in answer.chains] == [-1, 0, 0]
    assert sum(phase.tokens for chain in answer.chains for phase in chain.phases) == sum(
        phase.tokens for phase in answer.phases
    )
    text = as_text(answer).splitlines()
    assert text[0].startswith("0: '7', ended by stop")
    assert any(line.startswith("    1: ") for line in text)
    assert any("think" in line and "tokens" in line and "ended by" in line for line in text)
    assert answer.to_dict()["chains"][1]["parent"] == 0
    assert plain.chains == ()
    with pytest.raises(UsageError, match="not explained"):
        as_text(plain)


def test_a_page_shows_a_models_text_as_text() -> None:
    with model(("Hm.\n</think>", "\n\n<script>alert(1)</script>")) as reasoner:
        page = as_page(reasoner.ask("Why?", strategy="think", explain=True))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<li") == page.count("</li>") == 1


def test_the_command_line(cli: Cli, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    asked = ["run", "What is 17 * 3?", "--model", str(SCRIPTED), "--strategy", "think"]
    ran = cli(*asked, "--explain", "--explain-page", str(page))
    assert ran.code == 0
    assert ran.out == "51\n"
    assert "0: '51', ended by stop" in ran.err
    assert page.read_text().startswith("<!doctype html>")
    assert "0: " not in cli(*asked).err
    assert cli(*asked, "--explain", "--json").json["chains"][0]["answer"] == "51"
    assert cli(*asked, "--explain-page", str(tmp_path)).code == 2
