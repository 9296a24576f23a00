"""Questions to databases."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from edgereason.bench.suites import sql
from edgereason.errors import UsageError
from support.places import SCRIPTED

TABLES = "CREATE TABLE t (x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);"


def files(folder: Path) -> tuple[Path, Path]:
    record = {
        "question": "Schema:\n...\n\nQuestion: Which?",
        "answer": "SELECT x FROM t",
        "extra": {"db": "one", "ordered": False},
    }
    (folder / "q.jsonl").write_text(json.dumps(record))
    (folder / "d.json").write_text(json.dumps({"one": TABLES}))
    return folder / "q.jsonl", folder / "d.json"


def test_rows_are_compared_as_the_question_asks(tmp_path: Path) -> None:
    questions, statements = files(tmp_path)
    (asked,) = sql.read(questions)
    assert asked.question == "Which?"
    made = sql.databases(statements, tmp_path)["one"]
    assert sql.is_right("2\n1", asked, made)
    assert not sql.is_right("2", asked, made)
    ordered = sql.Asked("Which?", "one", "SELECT x FROM t ORDER BY x", ordered=True)
    assert not sql.is_right("2\n1", ordered, made)
    with pytest.raises(UsageError, match="the gold query"):
        sql.is_right("1", sql.Asked("?", "one", "SELECT y FROM t", ordered=False), made)


def test_the_whole_of_it_on_a_script(tmp_path: Path) -> None:
    questions, statements = files(tmp_path)
    options = argparse.Namespace(
        model=SCRIPTED, context=4096, threads=0, questions=questions, databases=statements, num=1,
        skip=0, ways="", answer_budget=8,
    )  # fmt: skip
    found = sql.measure(options, lambda text: None)
    assert found.figures["sql"]["right"] == 0
    assert found.figures["sql"]["num"] == 1


def test_files_that_are_no_questions(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("[]\n")
    for read in (sql.read, lambda path: sql.databases(path, tmp_path)):
        with pytest.raises(UsageError):
            read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="has no questions"):
        sql.read(tmp_path / "bad")
