"""Queries that are run, looked at and mended."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import UsageError
from edgereason.runtime import lines
from edgereason.strategies.base import Returned
from support.scripted_models import DIRECT, model

OPENED = "nothing else.<|im_end|>\n<|im_start|>assistant\n" + DIRECT + "```sql\n"
AGAIN = "\nThe right query:\n```sql\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE fruit (name TEXT, price REAL)")
        database.executemany("INSERT INTO fruit VALUES (?, ?)", [("pear", 2.5), ("fig", 4)])
    database.close()
    return path


def test_the_rows_are_the_answer(shop: Path) -> None:
    with model((OPENED, "SELECT name, price FROM fruit ORDER BY price\n```")) as reasoner:
        answer = reasoner.ask("What is there?", strategy="sql", options={"database": str(shop)})
    assert answer.answer == "pear | 2.5\nfig | 4"
    assert "SELECT name" in answer.reasoning


def test_no_time_for_the_tables_is_no_fault_of_the_file(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Returned(error="no time was left to run the query", was_cut=True)
    monkeypatch.setattr(lines, "run_query", lambda *args, **keywords: late)
    with model() as reasoner:
        answer = reasoner.ask("What?", strategy="sql", options={"database": str(shop)})
    assert answer.answer == "7"  # it thought instead
    assert answer.note.startswith("no query gave rows")


def test_an_error_is_told_and_mended(shop: Path) -> None:
    rules = (
        (OPENED, "SELECT nam FROM fruit\n```"),
        (f"no such column: nam{AGAIN}", "SELECT name FROM fruit WHERE price > 3\n```"),
    )
    options = {"database": str(shop)}
    with model(*rules) as reasoner:
        assert reasoner.ask("What?", strategy="sql", options=options).answer == "fig"
        plain = reasoner.ask("What?", strategy="sql", options={**options, "retries": 0})
        assert plain.answer == "7"  # it thought instead, and says why
        assert plain.note == "no query gave rows: no such column: nam"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM fruit",
        "INSERT INTO fruit VALUES ('kiwi', 1)",
        "DROP TABLE fruit",
        "ATTACH '/tmp/other' AS other",
        "PRAGMA writable_schema = 1",
        "SELECT load_extension('x')",
        "SELECT 1; DELETE FROM fruit",
        "VACUUM INTO '/tmp/other'",
    ],
)
def test_what_does_more_than_read_is_refused(shop: Path, statement: str) -> None:
    before = shop.read_bytes()
    with model((OPENED, f"{statement}\n```")) as reasoner:
        options = {"database": str(shop), "retries": 0, "rescue": False}
        answer = reasoner.ask("What?", strategy="sql", options=options)
    assert answer.answer == ""
    assert answer.note.startswith("no query gave rows: ")
    assert shop.read_bytes() == before


def test_without_a_database_it_can_still_add() -> None:
    with model((OPENED, "SELECT 17 * 3\n```")) as reasoner:
        assert reasoner.ask("What is 17 * 3?", strategy="sql").answer == "51"


def test_result_sets_vote(shop: Path) -> None:
    with model((OPENED, "SELECT count(*) FROM fruit\n```")) as reasoner:
        options = {"database": str(shop), "samples": 3}
        answer = reasoner.ask("How many?", strategy="sql", options=options)
    assert answer.answer == "2"
    assert answer.candidates[0].votes == 3


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"database": "/nowhere.sqlite"}, "there is no database /nowhere.sqlite"),
        ({"retries": -1}, "retries must be 0 or more, got -1"),
        ({"samples": 0}, r"samples must be in \[1, 256\], got 0"),
        ({"seconds": 0}, "seconds must be more than 0, got 0"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: str) -> None:
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("What?", strategy="sql", options=options)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at" * 20)
    with model() as reasoner, pytest.raises(UsageError, match=r"notes\.txt cannot be read"):
        reasoner.ask("What?", strategy="sql", options={"database": str(tmp_path / "notes.txt")})
