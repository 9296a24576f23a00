"""What a database is asked, and kept from."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from edgereason.runtime.database import run_query
from edgereason.strategies.base import Query

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def ask(sql: str, file: str = "", seconds: float = 2.0, rows: int = 20) -> tuple[str, str]:
    found = run_query(Query(file, sql, seconds, rows))
    return found.value, found.error


def test_values_as_people_write_them() -> None:
    assert ask("SELECT 1, 2.50, NULL, 'x', x'00ff'")[0] == "1 | 2.5 |  | x | 00ff"
    assert ask("SELECT 1 UNION SELECT 2 UNION SELECT 3", rows=2)[0] == "1\n2"


@pytest.mark.parametrize("sql", ["", "SELECT 1 WHERE 0"])
def test_nothing_is_nothing(sql: str) -> None:
    assert ask(sql) == ("", "")


def test_it_ends_in_time() -> None:
    begin = time.monotonic()
    assert ask(FOREVER, seconds=0.3) == ("", "the query took too long")
    assert run_query(Query("", FOREVER), stopped=lambda: True).was_cut
    assert run_query(Query("", FOREVER, 5), left=0.1).was_cut
    assert not run_query(Query("", FOREVER, 0.1), left=5).was_cut  # its own time, not the request's
    assert ask("SELECT 1", seconds=0)[1] == "no time was left to run the query"
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT zeroblob(1000000000)",
        "SELECT group_concat(hex(i) || 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') FROM "
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) "
        "SELECT i FROM n)",
        "SELECT 1; SELECT 2",
        "CREATE TABLE t (x)",
        "SELECT load_extension('x')",
        "SELECT * FROM nowhere",
        "SELECT \0",
    ],
)
def test_what_is_refused_says_why(sql: str) -> None:
    value, error = ask(sql)
    assert value == ""
    assert error


def test_a_file_with_an_odd_name_is_the_one_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=rwc&x#%20.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t AS SELECT 5 AS x")
    database.close()
    assert ask("SELECT x FROM t", str(path))[0] == "5"
    assert "not authorized" in ask("DELETE FROM t", str(path))[1]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_huge_value_is_none() -> None:
    assert ask("SELECT length(printf('%1000000000d', 1))")[0] == ""
