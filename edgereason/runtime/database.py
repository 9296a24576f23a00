"""Asks a SQLite database for a strategy, read only: `Query` in, `Returned` out.

The file is opened read only, and SQLite is told what a statement may do: read tables, call harmless
functions, recurse. It may not write, attach another file, change a setting or load code. Time, rows
and the length of a value are limited. SQLite runs in this process: what it takes while it sorts is
not limited, other than by the time.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from edgereason.errors import UnsupportedError
from edgereason.strategies.base import Query, Returned

_ALLOWED: Final = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
)
_DENIED: Final = ("load_extension", "randomblob", "zeroblob", "fts3_tokenizer")
_MOST_VALUE: Final = 1 << 20  # bytes of one value, and of the statement
_LIMIT_LENGTH, _LIMIT_SQL_LENGTH = 0, 1  # SQLite's numbers of those limits
_MOST_TEXT: Final = 4000  # characters of an answer
_EVERY: Final = 1000  # instructions of SQLite between two looks at the clock


def run_query(
    query: Query, stopped: Callable[[], bool] = lambda: False, *, left: float = math.inf
) -> Returned:
    """Waits for the rows, at most `query.seconds` and the seconds `left`, or until `stopped()`."""
    seconds = min(query.seconds, left)
    if seconds <= 0:
        return Returned(error="no time was left to run the query", was_cut=True)
    until = time.monotonic() + seconds
    try:
        with closing(_open(query.database)) as database:
            database.set_progress_handler(lambda: stopped() or time.monotonic() > until, _EVERY)
            rows = database.execute(query.sql).fetchmany(query.rows)
    except sqlite3.Error as error:
        late = time.monotonic() > until
        told = "the query took too long" if late else f"{error}"
        return Returned(error=told, was_cut=stopped() or (late and left < query.seconds))
    except (ValueError, sqlite3.Warning) as error:  # a null character, two statements
        return Returned(error=f"{error}")
    return Returned("\n".join(" | ".join(map(_text, row)) for row in rows)[:_MOST_TEXT])


def _open(file: str) -> sqlite3.Connection:
    """An empty database for ""."""
    name = f"{Path(file).resolve().as_uri()}?mode=ro" if file else "file::memory:"
    database = sqlite3.connect(name, uri=True)
    setlimit = getattr(database, "setlimit", None)
    if setlimit is None:
        database.close()
        raise UnsupportedError(
            "databases need Python 3.11: before, the size of a value cannot be limited"
        )
    for limit in (_LIMIT_LENGTH, _LIMIT_SQL_LENGTH):
        setlimit(limit, _MOST_VALUE)
    database.set_authorizer(_may)
    return database


def _may(action: int, first: str | None, second: str | None, *rest: Any) -> int:
    denied = action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _DENIED
    return sqlite3.SQLITE_OK if action in _ALLOWED and not denied else sqlite3.SQLITE_DENY


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


__all__ = ["run_query"]
