"""A query that gives the rows of `answer`'s on the database `extra.database`, in SQLite, read only.

In order where `extra.ordered`, else as a multiset. The database is SQL text that makes it.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from edgereason.errors import UsageError

from ..tasks.base import Item

_SECONDS: Final = 2.0
_MOST_ROWS: Final = 100_000
_FENCE: Final = re.compile(r"```(?:sql|sqlite)?\s*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_QUERY: Final = re.compile(
    r"(?is)\b(?:select\b|with\s+(?:recursive\s+)?\w+\s*(?:\([^)]*\)\s*)?as\s*\().*"
)
_READING: Final = (
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE,
)  # fmt: skip


def check(item: Item, text: str) -> bool:
    database = str(item.extra["database"])
    wanted = rows(database, item.answer)
    if wanted is None:
        raise UsageError(f"the answer of {item.id} is no query of its database")
    found = rows(database, query_in(text))
    if found is None:
        return False
    if item.extra.get("ordered"):
        return found == wanted
    return Counter(found) == Counter(wanted)


def query_in(text: str) -> str:
    """The last fenced block, else what begins with SELECT or WITH; up to its first semicolon."""
    blocks = _FENCE.findall(text)
    found = _QUERY.search(blocks[-1] if blocks else text)
    return found[0].partition(";")[0] if found else ""


def rows(database: str, query: str) -> Sequence[Any] | None:
    """None where the query fails, writes, or takes too long."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(database)
        connection.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY
        )
        until = time.monotonic() + _SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
        return connection.execute(query).fetchmany(_MOST_ROWS) if query else None
    except (sqlite3.Error, sqlite3.Warning, ValueError):
        return None
    finally:
        connection.close()
