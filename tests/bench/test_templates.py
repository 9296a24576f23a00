"""The bench over a folder of chat templates."""

from __future__ import annotations

import csv
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from edgereason.bench.harness.runner import run
from edgereason.bench.suites import templates
from edgereason.bench.suites.templates import BENCH, CONVERSATIONS, attacks, inject, look_at
from edgereason.errors import UsageError
from support.chat_templates import ALL, CHATML


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in ALL.items():
        (tmp_path / f"{name}.jinja").write_text(text, encoding="utf-8")
    return tmp_path


def test_nothing_is_wrong_in_the_templates_of_the_tests(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(BENCH, ["--templates", str(folder), "--texts", "300", "--quiet"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert figures["looked_at"] == figures["templates"] == len(ALL)
    assert figures["wrong"] == []
    assert figures["injection"]["tokens"] == figures["injection"]["guards"] == 0
    assert figures["injection"]["rendered"] > 200


def test_what_is_wrong_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt that is taken for one inside a thought, and is not."""
    real = templates.thinking_prompt

    def lies(*args: Any, **options: Any) -> Any:
        from dataclasses import replace

        found = real(*args, **options)
        return replace(found, thinking=not found.thinking)

    monkeypatch.setattr(templates, "thinking_prompt", lies)
    look = look_at(folder / "qwen3.jinja")
    assert look.num_wrong == len(CONVERSATIONS)


def test_a_token_that_gets_through_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chatml.jinja"
    path.write_text(CHATML, encoding="utf-8")
    look = look_at(path)
    texts = list(itertools.islice(attacks(look.bundle.control_tokens, random.Random(1)), 50))
    assert inject(look, texts)["tokens"] == 0
    real = templates.render

    def unguarded(*args: Any, control_tokens: Any = (), markers: Any = (), **options: Any) -> Any:
        return real(*args, **options)

    monkeypatch.setattr(templates, "render", unguarded)
    assert inject(look, texts)["tokens"] > 0


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    assert run(BENCH, ["--templates", str(tmp_path), "--quiet"]) != 0


PUBLISHED = Path(__file__).parents[2] / "bench" / "results" / "templates-verdicts.csv"


def test_the_published_verdicts_hold_what_is_said_of_them() -> None:
    rows = list(templates.read_verdicts(PUBLISHED).values())
    assert len(rows) >= 250
    assert sum(row["verdict"] == "right" for row in rows) >= 0.98 * len(rows)
    # What is not right says so itself, where people see it.
    assert all((row["verdict"] == "unclear") is (row["unclear"] == "yes") for row in rows)


def test_what_is_found_is_held_against_what_a_reader_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = [look_at(path) for path in sorted(folder.glob("*.jinja"))]
    rows = [
        {"hash": look.hash, "verdict": "right", **templates.found_in(look)} for look in looks[:3]
    ]
    rows[1]["marks"] = "<other> </other>"  # judged when something else was found
    rows[2]["verdict"] = "unclear"
    path = tmp_path / "verdicts.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    options = ["--templates", str(folder), "--verdicts", str(path), "--texts", "0", "--quiet"]
    assert run(BENCH, options) == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1])["figures"]["judged"] == {
        "right": 1,
        "other than judged": 1,
        "unclear": 1,
        "not judged": len(ALL) - 3,
    }
    assert "other than judged" in out.rpartition("{")[0]


def test_a_verdict_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.csv"
    path.write_text("hash,verdict\nabc,perhaps\n", encoding="utf-8")
    with pytest.raises(UsageError, match="got 'perhaps'"):
        templates.read_verdicts(path)


def test_a_hash_is_of_the_text_however_it_is_laid_out() -> None:
    assert templates.hash_of("{{ a }}\n  {{ b }}\n") == templates.hash_of("{{ a }} {{ b }}")
    assert templates.hash_of("{{ a }}") != templates.hash_of("{{ b }}")
